package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// In mode files the app finds everything when it starts, and another certificate later. A container of another user in
// the same pod has none of it.
func TestFiles(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	user := func(c *corev1.Container, id int64) {
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &id}
	}
	w := workload{
		name: "files", command: []string{"/podtool", "api"},
		annotations: identified(ns, "files", map[string]string{
			"spiffe.io/mode":          "files",
			"spiffe.io/files":         "{containers: [app], jwt: [{file: api.jwt, audience: api}]}",
			"spiffe.io/x509-svid-ttl": "30s",
		}),
		edit: func(spec *corev1.PodSpec) {
			user(&spec.Containers[0], 1000)
			spec.Containers = append(spec.Containers, container("other", "/podtool", "api", "--listen", "127.0.0.1:8081"))
			user(&spec.Containers[1], 1001)
		},
	}
	deploy(t, ns, w)

	const folder = "/var/run/secrets/spiffe.io/"
	show := func(file string) string {
		t.Helper()
		out, err := in(t, ns, "deployment/files", "/sample", "cat", folder+file)
		must(t, err) // they were there before the app
		return out
	}
	first := certificateIn(t, show("svid.pem"))
	if want := "spiffe://example.org" + id(ns, "files"); len(first.URIs) != 1 || first.URIs[0].String() != want {
		t.Errorf("svid.pem: expected %s, got %v", want, first.URIs)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(show("svid_bundle.pem"))) {
		t.Error("svid_bundle.pem has no certificate")
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	if _, err := first.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usages}); err != nil {
		t.Errorf("svid.pem by svid_bundle.pem: %v", err)
	}
	if !strings.Contains(show("svid_key.pem"), "PRIVATE KEY") || strings.Count(show("api.jwt"), ".") != 2 {
		t.Error("svid_key.pem or api.jwt are something else")
	}
	if out, err := shared.k.Run(t.Context(), "--namespace", ns, "exec", "deployment/files", "--container", "other", "--",
		"/sample", "cat", folder+"svid.pem"); err == nil {
		t.Errorf("a container of another user reads %s", out)
	}
	eventually(t, "another certificate", func() error {
		if again := certificateIn(t, show("svid.pem")); again.SerialNumber.Cmp(first.SerialNumber) == 0 {
			return fmt.Errorf("still the first one, which expires at %s", first.NotAfter)
		}
		return nil
	})

	pod := onlyPod(t, ns, "files")
	if len(pod.Spec.InitContainers) != 1 || pod.Spec.InitContainers[0].Name != "spiffe-files" {
		t.Errorf("expected the container of the files alone, got %+v", pod.Spec.InitContainers)
	}
	before, app := pod.Status.InitContainerStatuses[0].State.Running, pod.Status.ContainerStatuses[0].State.Running
	if before == nil || app == nil {
		t.Fatalf("expected that all run, got %+v", pod.Status)
	}
	t.Logf("the app started %s after what keeps its files", app.StartedAt.Sub(before.StartedAt.Time).Round(time.Second))
}

func certificateIn(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("expected a certificate in PEM, got %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return c
}
