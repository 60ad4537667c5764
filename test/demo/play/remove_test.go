package play

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// sceneThat is a scene whose kubectl prints a text and logs how it was called; calls returns that.
func sceneThat(t *testing.T, prints string) (s scene.Scene, calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log, path := filepath.Join(dir, "log"), filepath.Join(dir, "kubectl")
	script := "#!/bin/sh\nprintf '%s\\n' \"$*\" >> " + log + "\necho '" + prints + "'\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return scene.New(environment.Environment{Kubectl: path}, "/top"), func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// end is how every removal ends.
const end = " --ignore-not-found --timeout=180s"

// podsOf removes what makes the pods of a namespace.
func podsOf(namespace string) string {
	return "-n " + namespace + " delete deployments,statefulsets,daemonsets,jobs,cronjobs --all --cascade=foreground" + end
}

func TestRemoveWorkloads(t *testing.T) {
	s, calls := sceneThat(t, `namespace "a" deleted`)
	cleared := false
	d := Demo{Workloads: []string{"one", "two"}, Namespaces: []string{"a", "b"}, Clear: func(context.Context, scene.Scene) error {
		cleared = true
		return nil
	}}
	removed, err := d.removeWorkloads(t.Context(), s)
	if !removed || err != nil || !cleared {
		t.Errorf("got %t, %v, cleared %t, want everything removed", removed, err, cleared)
	}
	want := []string{
		podsOf("a"),
		podsOf("b"),
		"delete namespace --wait=false a b" + end,
		"delete -k /top/two" + end,
		"delete -k /top/one" + end,
		"delete namespace a b" + end,
	}
	got := calls()
	slices.Sort(got[:len(d.Namespaces)]) // those come at the same time
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNothingToRemove(t *testing.T) {
	s, _ := sceneThat(t, "No resources found")
	if removed, err := (Demo{Workloads: []string{"one"}, Namespaces: []string{"a"}}).removeWorkloads(t.Context(), s); removed || err != nil {
		t.Errorf("got %t, %v, want nothing removed", removed, err)
	}
}
