package templates

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/golden/layout"
)

var update = flag.Bool("update", false, "write testdata anew from what Generate returns")

// TestGolden compares every file of every case with testdata, where it is laid out for readers, without aliases, and gives
// back the same bytes.
func TestGolden(t *testing.T) {
	want := map[string]bool{}
	for name, proxy := range cases(t) {
		config, err := Generate(asJSON(proxy))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		inShort, err := Generate(proxy)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for file, content := range files(config) {
			path := filepath.Join("testdata", name, file)
			want[path] = true
			t.Run(path, func(t *testing.T) {
				laidOut, err := layout.YAML([]byte(content))
				if err != nil {
					t.Fatal(err)
				}
				if back, err := layout.JSON(laidOut); err != nil || string(back) != content {
					t.Errorf("the file does not give back what was generated, but %s (%v)", back, err)
				}
				back, err := layout.JSON([]byte(files(inShort)[file]))
				if back = otherFile.ReplaceAll(back, []byte(`${1}.json"`)); err != nil || string(back) != content {
					t.Errorf("with aliases the meaning is another one: %s (%v)", back, err)
				}
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, laidOut, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				golden, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(golden), string(laidOut)); diff != "" {
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
		inJSON, err := Generate(asJSON(proxy))
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range files(inJSON) {
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

// otherFile is where one file refers to another one. No text of a user's has quotes that are not escaped.
var otherFile = regexp.MustCompile(`("path":"` + ConfigDir + `/[a-z0-9-]+)` + regexp.QuoteMeta(yamlSuffix) + `"`)

// asJSON is a proxy whose files a test reads as JSON.
func asJSON(p ir.Proxy) ir.Proxy {
	p.JSONFiles = true
	return p
}

func files(c Config) map[string]string {
	all := map[string]string{
		BootstrapFile: c.Bootstrap, ListenersFile: c.Listeners, ClustersFile: c.Clusters, AuthorizationFile: c.Authorization,
		CertificateFile: c.Certificate,
	}
	for n, content := range c.CAs {
		all[CAFile(n)] = content
	}
	maps.DeleteFunc(all, func(_, content string) bool { return content == "" })
	return all
}
