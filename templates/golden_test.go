package templates

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata anew from what Generate returns")

// TestGolden compares every file of every case with testdata, where it is indented for readers.
func TestGolden(t *testing.T) {
	want := map[string]bool{}
	for name, proxy := range cases(t) {
		config, err := Generate(proxy)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for file, content := range files(config) {
			path := filepath.Join("testdata", name, file)
			want[path] = true
			t.Run(path, func(t *testing.T) {
				var indented bytes.Buffer
				if err := json.Indent(&indented, []byte(content), "", "  "); err != nil {
					t.Fatal(err)
				}
				indented.WriteByte('\n')
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				golden, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(golden), indented.String()); diff != "" {
					t.Errorf("run `go test ./templates -update` if this is meant (-%s +now):\n%s", path, diff)
				}
			})
		}
	}
	found, err := filepath.Glob("testdata/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if !want[path] {
			t.Errorf("%s belongs to no case: delete it", path)
		}
	}
}

// TestDeterministic generates each case often: protojson varies its white space and Go its maps.
func TestDeterministic(t *testing.T) {
	for name, proxy := range cases(t) {
		first, err := Generate(proxy)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			again, err := Generate(proxy)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, again); diff != "" {
				t.Fatalf("%s (-first +again):\n%s", name, diff)
			}
		}
		for file, content := range files(first) {
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(content)); err != nil {
				t.Fatal(err)
			}
			if compact.String() != content {
				t.Errorf("%s of %s is not compact", file, name)
			}
		}
	}
}

func files(c Config) map[string]string {
	all := map[string]string{
		BootstrapFile: c.Bootstrap, ListenersFile: c.Listeners, ClustersFile: c.Clusters, AuthorizationFile: c.Authorization,
		CertificateFile: c.Certificate,
	}
	maps.DeleteFunc(all, func(_, content string) bool { return content == "" })
	return all
}
