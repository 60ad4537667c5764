package check

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

func TestDNSTTL(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		corefile string
		want     time.Duration // 0: not known
	}{
		"nothing":            {"", 0},
		"no braces":          {"kubernetes ttl 7", 0},
		"no plugin":          {".:53 {\n forward . 1.1.1.1\n cache 30\n}", 0},
		"by default":         {".:53 {\n kubernetes cluster.local\n cache 30\n}", 5 * time.Second},
		"by default, braces": {".:53 {\n kubernetes cluster.local in-addr.arpa {\n pods insecure\n }\n}", 5 * time.Second},
		"kubeadm": {`.:53 {
    errors
    health {
       lameduck 5s
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa { # of the cluster
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
    }
}`, 30 * time.Second},
		"shorter":             {"a {\n kubernetes b {\n ttl 1\n }\n}", time.Second},
		"the longest":         {"a {\n kubernetes a {\n ttl 20\n }\n}\nb {\n kubernetes b\n}", 20 * time.Second},
		"of another plugin":   {"a {\n kubernetes a {\n pods insecure\n }\n hosts {\n ttl 3600\n }\n}", 5 * time.Second},
		"a comment":           {"a {\n kubernetes a {\n # ttl 3600\n }\n}", 5 * time.Second},
		"not a number":        {"a {\n kubernetes a {\n ttl {$TTL}\n }\n}", 5 * time.Second},
		"more braces than go": {"}}}\n{ {\n kubernetes a", 0},
	} {
		got, known := dnsTTL(c.corefile)
		if got != c.want || known != (c.want > 0) {
			t.Errorf("%s: got %s, known: %t; expected %s", name, got, known, c.want)
		}
	}
}

// What DNS has kept for as long as a pod serves is a risk, by the time that it takes to tell DNS.
func TestDNS(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[string]Status{"5": OK, "6": Warning, "30": Warning} {
		c := healthy(t)
		c.set(t, configMap("kube-system", "coredns", "Corefile", "a {\n kubernetes a {\n ttl "+ttl+"\n }\n}"))
		if findings := Judge(c.gather(t)); !has(findings, "dns", want, "kept for "+ttl+"s, and a pod that ends serves for 10s") {
			t.Errorf("%s: got %+v", ttl, findings)
		}
	}
}

// Elsewhere nothing is known of DNS, and that is no fault.
func TestOtherDNS(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.set(t, configMap("kube-system", "coredns", "other", ""))
	if findings := Judge(c.gather(t)); !has(findings, "dns", OK, "does not say") {
		t.Errorf("got %+v", findings)
	}
	if err := c.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), "kube-system", "coredns"); err != nil {
		t.Fatal(err)
	}
	if findings := Judge(c.gather(t)); !has(findings, "dns", OK, "does not say") {
		t.Errorf("got %+v", findings)
	}
	c.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() != "kube-system" {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "coredns", nil)
	})
	if findings := Judge(c.gather(t)); !has(findings, "dns", Error, "could not be read") {
		t.Errorf("got %+v", findings)
	}
}
