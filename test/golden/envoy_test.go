package golden

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/envoy/static"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The real Envoy accepts what each case generates; cases that generate the same are one.
func TestEnvoyAcceptsCorpus(t *testing.T) {
	t.Parallel()
	cases, err := Read("cases")
	must(t, err)
	cache, err := parts.UserCache()
	must(t, err)
	programs, err := parts.Ensure(t.Context(), cache, parts.ForEnvoy, os.Stderr)
	must(t, err)
	known := map[templates.Config]bool{}
	for _, c := range cases {
		in := c.input(t)
		res, err := in.injector.Inject(in.namespace, in.pod)
		if err != nil || !res.Inject {
			continue
		}
		config := templates.Config{
			Bootstrap: res.Pod.Annotations[intent.AnnotationBootstrap], Listeners: res.Pod.Annotations[intent.AnnotationListeners],
			Clusters: res.Pod.Annotations[intent.AnnotationClusters], Authorization: res.Pod.Annotations[intent.AnnotationAuthorization],
			Certificate: res.Pod.Annotations[intent.AnnotationCertificate],
		}
		for n := range config.CAs {
			config.CAs[n] = res.Pod.Annotations[intent.AnnotationCA(n)]
		}
		if config.Bootstrap == "" || known[config] {
			continue
		}
		known[config] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			document, err := static.Bootstrap(config)
			must(t, err)
			path := filepath.Join(t.TempDir(), "bootstrap.json")
			must(t, os.WriteFile(path, document, 0o644))
			out, err := exec.CommandContext(t.Context(), programs.Envoy, "--mode", "validate", "--config-path", path, "--log-level", "error").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if len(known) < 10 {
		t.Errorf("expected many different configurations, got %d", len(known))
	}
}
