package main

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// made is a release of this commit, of a small program in the injector's place.
func made(t *testing.T) (release, string) {
	t.Helper()
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	r := release{root: root, main: "./test/release/testdata/program"}
	if r.image, err = name.NewRepository("registry.example.org/team/injector"); err != nil {
		t.Fatal(err)
	}
	// Not what git says: another test run may commit meanwhile.
	if r.source, err = describe(t.Context(), root, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	folder, err := r.make(t.Context(), t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return r, folder
}

func contents(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(folder, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestRelease(t *testing.T) {
	t.Parallel()
	r, folder := made(t)
	t.Run("bytes", func(t *testing.T) { testSameBytesAgain(t, folder) })
	t.Run("sums", func(t *testing.T) { testSums(t, folder) })
	t.Run("programs", func(t *testing.T) { testPrograms(t, folder) })
	t.Run("modules", func(t *testing.T) { testModules(t, r, folder) })
	t.Run("images", func(t *testing.T) { testImages(t, r, folder) })
	t.Run("plugin", func(t *testing.T) { testPlugin(t, folder) })
	t.Run("charts", func(t *testing.T) { testCharts(t, r, folder) })
	t.Run("manifests", func(t *testing.T) { testManifests(t, r, folder) })
}

func testSameBytesAgain(t *testing.T, folder string) {
	_, other := made(t)
	first, second := contents(t, folder), contents(t, other)
	if len(first) < 10 {
		t.Errorf("got %d files, expected the release's", len(first))
	}
	for file, data := range first {
		if !bytes.Equal(data, second[file]) {
			t.Errorf("%s: a second release of the same commit has other bytes", file)
		}
		delete(second, file)
	}
	for file := range second {
		t.Errorf("%s: only in the second release of the same commit", file)
	}
}

func testSums(t *testing.T, folder string) {
	files := contents(t, folder)
	want := map[string]string{}
	for file, data := range files {
		if file != fileSums {
			sum := sha256.Sum256(data)
			want[file] = hex.EncodeToString(sum[:])
		}
	}
	got := map[string]string{}
	for line := range strings.Lines(string(files[fileSums])) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		got[file] = sum
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-files +%s):\n%s", fileSums, diff)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", fileSums)
	check.Dir = folder
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

func testPrograms(t *testing.T, folder string) {
	for file, machine := range map[string]elf.Machine{"spire-injector-linux-amd64": elf.EM_X86_64, "spire-injector-linux-arm64": elf.EM_AARCH64} {
		program, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		checkProgram(t, file, program, machine)
	}
	for _, p := range platforms() {
		data, err := os.ReadFile(filepath.Join(folder, p.file()))
		if err != nil {
			t.Fatal(err)
		}
		root, err := parts.Root()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(root)) {
			t.Errorf("%s has a path of this machine in it: %s", p.file(), root)
		}
		if !bytes.Contains(data, []byte("v1.2.3")) {
			t.Errorf("%s does not know its version", p.file())
		}
	}
}

// checkProgram wants a static program for Linux on a machine.
func checkProgram(t *testing.T, what string, program []byte, machine elf.Machine) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if file.Machine != machine {
		t.Errorf("%s: a program for %s, expected %s", what, file.Machine, machine)
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s: needs %v, %v; expected a static program", what, libraries, err)
	}
}

func TestNothingIsLeftOfAReleaseThatFails(t *testing.T) {
	t.Parallel()
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	r := release{root: root, main: "./test/release/testdata/no-such-program", source: source{version: "v1.2.3"}}
	out := t.TempDir()
	if _, err := r.make(t.Context(), out, io.Discard); err == nil || !strings.Contains(err.Error(), "building spire-injector for linux/amd64") {
		t.Errorf("got error %v, want that of the build", err)
	}
	if left := contents(t, out); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
