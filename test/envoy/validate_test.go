package envoy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/test/envoy/static"
	"github.com/spire-injector/spire-injector/test/golden/layout"
)

const testdata = "../../templates/testdata"

// TestEnvoyAcceptsEveryCase runs `envoy --mode validate` on every case of templates/testdata. It does not read
// files of dynamic resources, so they are folded into the bootstrap as static ones.
func TestEnvoyAcceptsEveryCase(t *testing.T) {
	t.Parallel()
	bootstraps, err := filepath.Glob(filepath.Join(testdata, "*", templates.BootstrapFile))
	must(t, err)
	if len(bootstraps) == 0 {
		t.Fatal("found no case")
	}
	for _, bootstrap := range bootstraps {
		folder := filepath.Dir(bootstrap)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			validate(t, folded(t, folder))
		})
	}
}

func folded(t *testing.T, folder string) []byte {
	t.Helper()
	read := func(name string) string {
		if _, err := os.Stat(filepath.Join(folder, name)); name == templates.CertificateFile && os.IsNotExist(err) {
			return ""
		}
		return string(golden(t, folder, name))
	}
	document, err := static.Bootstrap(templates.Config{
		Bootstrap: read(templates.BootstrapFile), Listeners: read(templates.ListenersFile),
		Clusters: read(templates.ClustersFile), Authorization: read(templates.AuthorizationFile),
		Certificate: read(templates.CertificateFile),
	})
	must(t, err)
	return document
}

func validate(t *testing.T, bootstrap []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	must(t, os.WriteFile(path, bootstrap, 0o644))
	out, err := exec.Command(envoyPath, "--mode", "validate", "--config-path", path, "--log-level", "error").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func readJSON(t *testing.T, folder, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name))
	must(t, err)
	document, err := layout.JSON(raw)
	must(t, err)
	var out map[string]any
	must(t, json.Unmarshal(document, &out))
	return out
}

// golden is a file of a case as it was generated.
func golden(t *testing.T, folder, name string) []byte {
	t.Helper()
	common, err := os.ReadFile(filepath.Join(testdata, "common.yaml"))
	must(t, err)
	laidOut, err := os.ReadFile(filepath.Join(folder, name))
	must(t, err)
	document, err := layout.JSON(layout.Whole(common, laidOut))
	must(t, err)
	return document
}
