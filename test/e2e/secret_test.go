package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// secretDelay is how long the kubelet may take to replace the files of a Secret.
const secretDelay = 3 * time.Minute

// TestCertificateOfASecret: callers with and without an identity see the certificate of a Secret that Envoy alone
// mounts, and the next one without a restart; a pod waits for a Secret that is not there yet. A sidecar that knows the
// server by the Secret's CA follows both.
func TestCertificateOfASecret(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	w := workload{name: "api", command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}, annotations: identified(ns, "api", map[string]string{
		"spiffe.io/inbound": list(item{
			"listen": 8443, "app": 8080, "certificate": item{"secret": "web"}, "clientCertificate": "optional", "peers": []string{id(ns, "valid")},
		}),
	})}
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	byName := func(name string) string {
		return list(item{"listen": 8000, "address": "api." + ns + ".svc:8443", "tls": item{"ca": item{"secret": "web"}, "sni": name}})
	}
	knows := workload{name: "knows", command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}, annotations: identified(ns, "knows", map[string]string{
		"spiffe.io/upstreams": byName("one.example.org"),
	})}
	apply(t, w.deployment(ns), w.service(ns), outsider.deployment(ns), knows.deployment(ns))
	rollout(t, ns, "deployment/outsider")
	eventually(t, "the pod waits for the Secret", func() error {
		out, err := shared.k.Run(t.Context(), "--namespace", ns, "get", "events", "--field-selector", "reason=FailedMount", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, `secret "web" not found`) {
			err = fmt.Errorf("got the events %q", out)
		}
		return err
	})
	apply(t, webSecret(t, ns, "one.example.org"))
	rollout(t, ns, "deployment/api")

	shows := func(name string) error {
		out, err := in(t, ns, "deployment/api", "/sample", "get", "http://127.0.0.1:15000/certs")
		if err == nil && !strings.Contains(out, name) {
			err = fmt.Errorf("%s is not among Envoy's certificates: %s", name, out)
		}
		return err
	}
	must(t, shows("one.example.org"))
	eventually(t, "a caller without a certificate is served", func() error { // a Service may be behind its pod
		out, err := in(t, ns, "deployment/outsider", "/sample", "dial", "api."+ns+".svc:8443", "--tls", "--path", "/echo")
		if err == nil && !strings.Contains(out, "answered: 200") {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	awaitOK(t, ns, "deployment/knows")
	pod := onlyPod(t, ns, "api")
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		mounts := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "spiffe-certificate" })
		if mounts != (c.Name == "envoy") {
			t.Errorf("container %s mounts the Secret: %t", c.Name, mounts)
		}
	}

	apply(t, webSecret(t, ns, "two.example.org"))
	took := eventuallyWithin(t, secretDelay, "the next certificate", func() error { return shows("two.example.org") })
	t.Logf("the next certificate was in use after %s", took)
	if after := onlyPod(t, ns, "api"); after.Name != pod.Name || scene.Restarts(after) != 0 {
		t.Errorf("pod %s became %s, with %d restarts", pod.Name, after.Name, scene.Restarts(after))
	}
	caller := onlyPod(t, ns, "knows")
	k(t, ns, "annotate", "--overwrite", "pod", caller.Name, "spiffe.io/upstreams="+byName("two.example.org"))
	eventuallyWithin(t, secretDelay, "the server is known by the next CA and name", func() error {
		out, err := in(t, ns, "deployment/knows", "/sample", "get", url)
		if err == nil && out != "ok\n" {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	if after := onlyPod(t, ns, "knows"); scene.Restarts(after) != 0 {
		t.Errorf("pod %s restarted %d times", after.Name, scene.Restarts(after))
	}
}

// webSecret is a Secret of type kubernetes.io/tls with a certificate for a name, signed by itself, which is its CA too.
func webSecret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"ca.crt":                public,
			corev1.TLSCertKey:       public,
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
		},
	}
}
