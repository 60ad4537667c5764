package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/command"
)

const url = "http://127.0.0.1:8000/api"

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	outsider := workload{name: "outsider", command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}}
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"), client(ns, "invalid"), outsider)

	t.Run("the valid client gets ok", func(t *testing.T) {
		awaitOK(t, ns, "deployment/valid")
	})
	t.Run("the invalid client is refused, and the server's log says who and why", func(t *testing.T) {
		out, err := in(t, ns, "deployment/invalid", "/sample", "get", url)
		if err == nil || !strings.HasPrefix(out, "upstream connect error") {
			t.Errorf("expected an upstream connect error, got %q (%v)", out, err)
		}
		awaitLog(t, ns, "deployment/api", "the invalid client's ID and the reason", func(l logLine) bool {
			return l.Event == "handshake_refused" && l.Peer == "spiffe://example.org"+id(ns, "invalid") &&
				strings.Contains(l.Reason, "SAN_match") && l.Self == "spiffe://example.org"+id(ns, "api")
		})
	})
	t.Run("a caller without a certificate is refused", func(t *testing.T) {
		out, err := in(t, ns, "deployment/outsider", "/sample", "dial", "api."+ns+".svc:8443", "--tls")
		if err == nil || !strings.Contains(out, "certificate required") {
			t.Errorf(`expected "certificate required", got %q (%v)`, out, err)
		}
		awaitLog(t, ns, "deployment/api", "no certificate", func(l logLine) bool {
			return l.Event == "handshake_refused" && l.Peer == "" && strings.Contains(l.Reason, "PEER_DID_NOT_RETURN_A_CERTIFICATE")
		})
	})
	t.Run("a plain-text caller is refused", func(t *testing.T) {
		out, err := in(t, ns, "deployment/outsider", "/sample", "dial", "api."+ns+".svc:8443", "--plain")
		if err == nil || !strings.Contains(out, "refused") {
			t.Errorf("expected a refusal, got %q (%v)", out, err)
		}
		awaitLog(t, ns, "deployment/api", "plain text", func(l logLine) bool {
			return l.Event == "handshake_refused" && strings.Contains(l.Reason, "HTTP_REQUEST")
		})
	})
	t.Run("the app is reached through its sidecar alone", func(t *testing.T) {
		pod := apiPod(t, ns)
		out, err := in(t, ns, "deployment/outsider", "/sample", "dial", pod.Status.PodIP+":8080", "--plain")
		var failed *command.Error
		if !errors.As(err, &failed) || !strings.Contains(out, "connection refused") {
			t.Errorf("expected a refused connection, got %q (%v)", out, err)
		}
	})
	t.Run("injected pods are asked for readiness when they may be ready", func(t *testing.T) {
		var events corev1.EventList
		must(t, shared.k.Get(t.Context(), &events, "events", "--namespace", ns, "--field-selector", "type=Warning"))
		for _, pod := range podsOf(t, ns, "") {
			for _, c := range pod.Status.InitContainerStatuses {
				for _, e := range events.Items {
					about := e.InvolvedObject.Name == pod.Name && e.InvolvedObject.FieldPath == "spec.initContainers{"+c.Name+"}"
					if !about || c.State.Running == nil {
						continue
					}
					// An SVID may come later than Envoy, and an app take longer than most: both are waited for, and said.
					after := e.FirstTimestamp.Sub(c.State.Running.StartedAt.Time)
					waits := strings.HasPrefix(e.Message, "Startup probe failed")
					if !waits && (after < 2*time.Second || !strings.HasPrefix(e.Message, "Readiness probe failed")) {
						t.Errorf("%s, container %s, %s after its start: %s", pod.Name, c.Name, after, e.Message)
					}
				}
			}
		}
	})
}
