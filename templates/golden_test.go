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

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/golden/layout"
)

var update = flag.Bool("update", false, "write testdata anew from what Generate returns")

// commonFile is what several files of testdata have in common.
const commonFile = "testdata/common.yaml"

// TestGolden compares every file of every case with testdata, where it is laid out for readers: what comes in several
// places, of one file or of several, stands once, in testdata/common.yaml.
func TestGolden(t *testing.T) {
	generated := map[string][]byte{}
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
			generated[filepath.Join("testdata", name, file)] = []byte(content)
			if back := inFull(t, file, files(inShort)[file]); back != content {
				t.Errorf("%s of %s: with short names and aliases the meaning is another one: %s", file, name, back)
			}
		}
	}
	common, laidOut, err := layout.Share(generated)
	if err != nil {
		t.Fatal(err)
	}
	laidOut[commonFile] = common
	if *update {
		writeGolden(t, laidOut)
	}
	for path, content := range laidOut {
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(golden), string(content)); diff != "" {
			t.Errorf("run `go test ./templates -update` if this is meant (-%s +now):\n%s", path, diff)
		}
	}
	found, err := filepath.Glob("testdata/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if laidOut[path] == nil {
			t.Errorf("%s belongs to no case: delete it", path)
		}
	}
}

func writeGolden(t *testing.T, content map[string][]byte) {
	t.Helper()
	for path, text := range content {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
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

// inFull is what [encode] writes of the message that a file in YAML means.
func inFull(t *testing.T, file, content string) string {
	t.Helper()
	document, err := layout.JSON([]byte(content))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var m proto.Message = &discoveryv3.DiscoveryResponse{}
	if file == BootstrapFile {
		m = &bootstrapv3.Bootstrap{}
	}
	document = otherFile.ReplaceAll(document, []byte(`${1}.json"`))
	document = bytes.ReplaceAll(document, []byte(`"`+briefTypeHost), []byte(`"`+typeHost))
	if err := protojson.Unmarshal(document, m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	full, err := encode(m)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return full
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
