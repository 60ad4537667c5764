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

// TestEnvoyAcceptsEveryCase runs `envoy --mode validate` on every case of templates/testdata. It does not read
// files of dynamic resources, so they are folded into the bootstrap as static ones.
func TestEnvoyAcceptsEveryCase(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob("../../templates/testdata/*")
	must(t, err)
	if len(folders) == 0 {
		t.Fatal("found no case")
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			validate(t, folded(t, folder))
		})
	}
}

func folded(t *testing.T, folder string) []byte {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if name == templates.CertificateFile && os.IsNotExist(err) {
			return ""
		}
		must(t, err)
		document, err := layout.JSON(data)
		must(t, err)
		return string(document)
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
