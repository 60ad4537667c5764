package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// testModules compares each bill with what the go command says of the program.
func testModules(t *testing.T, r release, folder string) {
	for _, p := range platforms() {
		file := filepath.Join(folder, p.file())
		bill := readBill(t, file+suffixModules)
		out, err := exec.CommandContext(t.Context(), "go", "version", "-m", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, c := range *bill.Components {
			if c.Name == "std" {
				continue
			}
			got[c.Name+" "+c.Version] = (*c.Hashes)[0].Value
			if c.PackageURL == "" || c.BOMRef == "" {
				t.Errorf("%s: %s has no package URL", p, c.Name)
			}
		}
		want := map[string]string{}
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) == 4 && fields[0] == "dep" {
				hash, err := hashOf(fields[3])
				if err != nil {
					t.Fatal(err)
				}
				want[fields[1]+" "+fields[2]] = hash.Value
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
			t.Errorf("%s: modules (-go version -m, +bill):\n%s", p, diff)
		}
		about := bill.Metadata.Component
		sum, err := parts.FileSum(file)
		if err != nil {
			t.Fatal(err)
		}
		if about.Name != "spire-injector" || about.Version != r.source.version || (*about.Hashes)[0].Value != sum {
			t.Errorf("%s: the bill is of %s %s with sum %v; expected spire-injector %s with %s", p, about.Name, about.Version, about.Hashes, r.source.version, sum)
		}
	}
}

func readBill(t *testing.T, path string) *cyclonedx.BOM {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bill cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(data), cyclonedx.BOMFileFormatJSON).Decode(&bill); err != nil {
		t.Fatal(err)
	}
	if bill.Components == nil || bill.Metadata == nil || bill.Metadata.Component == nil {
		t.Fatalf("%s: expected components, and what they are of", path)
	}
	return &bill
}

func TestBillHasReplacedModulesAndEscapesVersions(t *testing.T) {
	t.Parallel()
	const sum = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "example.org/main"}, Deps: []*debug.Module{
		{Path: "example.org/Old", Version: "v2.0.0+incompatible", Sum: sum},
		{Path: "example.org/fork", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/ours", Version: "v1.0.1", Sum: sum}},
	}}
	bill, err := billOf(info, source{version: "v3.0.0", commit: "c", time: time.Unix(0, 0)}, platform{"linux", "amd64"}, "aa")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range *bill.Components {
		got = append(got, c.PackageURL)
	}
	want := []string{"pkg:golang/std@1.26.8", "pkg:golang/example.org/Old@v2.0.0%2Bincompatible", "pkg:golang/example.org/ours@v1.0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	info.Deps[0].Sum = ""
	if _, err := billOf(info, source{}, platform{}, ""); err == nil || !strings.Contains(err.Error(), `sum "": expected h1:`) {
		t.Errorf("a module without a sum: got error %v", err)
	}
}
