package golden

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/check"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The check reads everything of a real API server, and is told by its answer whether that reaches the webhook and
// trusts it.
func testCheck(t *testing.T, s *apiServer) {
	platform, err := os.ReadFile(filepath.Join(manifests, "config.yaml"))
	must(t, err)
	parsed, err := intent.ParsePlatform(platform)
	must(t, err)
	s.use(inject.Injector{Platform: parsed, Version: "test"})
	s.prepare(t, intent.Namespace{Name: "spire-injector"}, "check")
	data, err := os.ReadFile(filepath.Join(manifests, "deployment.yaml"))
	must(t, err)
	first, _, _ := bytes.Cut(data, []byte("\n---\n"))
	deployment := decoded(t, first)
	deployment.SetNamespace("spire-injector")
	must(t, s.Create(t.Context(), deployment))
	api, err := check.Connect(s.config)
	must(t, err)

	look := func() []check.Finding {
		f := check.Gatherer{
			Client: api, Names: check.Names{Namespace: "spire-injector", SPIRE: "spire"}, Now: time.Now, Hash: func([]byte) float64 { return 0 },
			Settings: func([]string) (check.Settings, error) {
				return check.Settings{Config: "/etc/spire-injector/config.yaml", Webhooks: "spire-injector", Lease: "spire-injector"}, nil
			},
		}.Gather(t.Context())
		for source, err := range f.Unread {
			t.Errorf("%s: %v", source, err)
		}
		return check.Judge(f)
	}
	want := func(findings []check.Finding, name string, status check.Status, part string) {
		t.Helper()
		for _, f := range findings {
			if f.Check == name && f.Status == status && strings.Contains(f.Found, part) {
				return
			}
		}
		t.Errorf("expected %s of %s with %q, got %+v", status, name, part, findings)
	}
	findings := look()
	want(findings, "kubernetes", check.OK, "Kubernetes v1.")
	want(findings, "policies", check.OK, "9 policies")
	want(findings, "excluded-namespaces", check.OK, "kube-system, spire-injector")
	want(findings, "webhook-answers", check.OK, "")
	want(findings, "replicas", check.Error, "no replica is ready")
	want(findings, "platform-file", check.Error, `"spire-injector-config" not found`)

	s.webhooks.Close()
	want(look(), "webhook-answers", check.Error, "connection refused")
}
