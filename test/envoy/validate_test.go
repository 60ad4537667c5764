package envoy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/templates"
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
			validate(t, fold(t, folder))
		})
	}
}

// fold returns the bootstrap of a case with listeners, clusters and authorization in it.
func fold(t *testing.T, folder string) map[string]any {
	t.Helper()
	bootstrap := readJSON(t, folder, templates.BootstrapFile)
	delete(bootstrap, "dynamic_resources")
	static := bootstrap["static_resources"].(map[string]any)
	authorization := resources(readJSON(t, folder, templates.AuthorizationFile))[0].(map[string]any)["typed_config"]
	for _, listener := range resources(readJSON(t, folder, templates.ListenersFile)) {
		inlineAuthorization(listener, authorization)
		static["listeners"] = append(static["listeners"].([]any), untyped(listener))
	}
	for _, cluster := range resources(readJSON(t, folder, templates.ClustersFile)) {
		static["clusters"] = append(static["clusters"].([]any), untyped(cluster))
	}
	return bootstrap
}

// inlineAuthorization puts the filter in the place of the reference to its file.
func inlineAuthorization(value, filter any) {
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			inlineAuthorization(inner, filter)
		}
	case map[string]any:
		if _, ok := value["config_discovery"]; ok {
			delete(value, "config_discovery")
			value["typed_config"] = filter
		}
		for _, inner := range value {
			inlineAuthorization(inner, filter)
		}
	}
}

func validate(t *testing.T, bootstrap map[string]any) {
	t.Helper()
	raw, err := json.Marshal(bootstrap)
	must(t, err)
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	must(t, os.WriteFile(path, raw, 0o644))
	out, err := exec.Command(envoyPath, "--mode", "validate", "--config-path", path, "--log-level", "error").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func readJSON(t *testing.T, folder, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name))
	must(t, err)
	var out map[string]any
	must(t, json.Unmarshal(raw, &out))
	return out
}

func resources(response map[string]any) []any {
	out, _ := response["resources"].([]any)
	return out
}

func untyped(resource any) any {
	delete(resource.(map[string]any), "@type")
	return resource
}
