package parts

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeyTellsInputsApart(t *testing.T) {
	keys := map[string][]string{}
	for _, inputs := range [][]string{{}, {""}, {"ab", "c"}, {"a", "bc"}, {"c", "ab"}, {"abc"}} {
		k := Key(inputs...)
		if len(k) != 12 {
			t.Errorf("Key(%q) = %q: expected 12 digits", inputs, k)
		}
		if other, taken := keys[k]; taken {
			t.Errorf("Key(%q) = Key(%q) = %q", inputs, other, k)
		}
		keys[k] = inputs
	}
}

func TestVersionsAgreeWithTheModules(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, module, version string }{
		{"kubernetes", "k8s.io/kubernetes", KubernetesVersion},
		{"kubernetes", "github.com/coredns/coredns", CoreDNSVersion},
		{"kubernetes", "go.etcd.io/etcd/server/v3", EtcdVersion},
		{"kubernetes", "github.com/containernetworking/plugins", CNIVersion},
		{"certmanager", "github.com/cert-manager/cert-manager", CertManagerVersion},
		{"csi", "github.com/spiffe/spiffe-csi", SPIFFECSIVersion},
		{"promtool", "github.com/prometheus/prometheus", PrometheusVersion},
		{"spirecontrollermanager", "github.com/spiffe/spire-controller-manager", ControllerManagerVersion},
		{"helm", "helm.sh/helm/v4", HelmVersion},
		{"istio", "istio.io/istio", IstioVersion},
		{"networkpolicy", "github.com/cloudnativelabs/kube-router/v2", KubeRouterVersion},
	} {
		gomod, err := os.ReadFile(filepath.Join(root, "test/tools", tt.file, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(gomod), tt.module+" "+tt.version) {
			t.Errorf("test/tools/%s/go.mod does not require %s %s, which the constant says", tt.file, tt.module, tt.version)
		}
	}
	gomod, err := os.ReadFile(filepath.Join(root, "test/tools/spire/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(gomod), "github.com/spiffe/spire "+SPIREVersion) {
		t.Errorf("test/tools/spire/go.mod does not require SPIRE %s, which the constant says", SPIREVersion)
	}
}

func TestModuleKeyFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		t.Helper()
		m, err := openModule(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return m.key
	}
	write("go.mod", "module example.org/m\n\ngo 1.26.0\n")
	write("main.go", "package main\n")
	first := key()
	if again := key(); again != first {
		t.Errorf("key of unchanged files: got %s, then %s", first, again)
	}
	write("main.go", "package main // changed\n")
	if changed := key(); changed == first {
		t.Errorf("key did not change with main.go")
	}
}

func TestDataFilesComeFromTheModule(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	stage := t.TempDir()
	files := dataFiles{module: "github.com/google/go-cmp", pattern: "LICEN*", folder: "data"}
	if err := files.copyTo(t.Context(), module{dir: root}, stage); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(stage, "data")); err != nil || len(entries) != 1 || entries[0].Name() != "LICENSE" {
		t.Errorf("got %v, %v; want LICENSE alone", entries, err)
	}
	files.pattern = "crds/*.yaml"
	err = files.copyTo(t.Context(), module{dir: root}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "module github.com/google/go-cmp has no crds/*.yaml") {
		t.Errorf("got error %v", err)
	}
}

func TestProduceLeavesAllOrNothing(t *testing.T) {
	cache := Cache{Dir: t.TempDir()}
	target := filepath.Join(cache.Dir, "parts", "thing-v1")
	broken := errors.New("the compiler was killed")
	err := cache.produce(target, func(stage string) error {
		if err := os.WriteFile(filepath.Join(stage, "half"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	if entries, _ := os.ReadDir(cache.Dir); len(entries) > 0 {
		t.Errorf("after a failed build the cache has %v", entries)
	}
	err = cache.produce(target, func(stage string) error {
		return os.WriteFile(filepath.Join(stage, "program"), []byte("whole"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(target, "program")); err != nil || string(data) != "whole" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestSweepRemovesWhatAKilledBuildLeft(t *testing.T) {
	cache := Cache{Dir: t.TempDir()}
	for _, dir := range []string{stagePrefix + "123", "parts"} {
		if err := os.Mkdir(filepath.Join(cache.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := cache.sweep(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(cache.Dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "parts" {
		t.Errorf("after sweep: %v, %v; want parts alone", entries, err)
	}
}

func TestLockExcludesAndIsFreedByUnlock(t *testing.T) {
	cache := Cache{Dir: t.TempDir()}
	unlock, err := cache.Lock(t.Context(), "build", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	told := &strings.Builder{}
	got := make(chan error)
	go func() {
		second, err := cache.Lock(t.Context(), "build", told)
		if err == nil {
			second()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the lock was given twice (error %v)", err)
	case <-time.After(3 * lockPoll):
	}
	unlock()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "waiting for another run") {
		t.Errorf("who had to wait was told %q", told)
	}
}

func TestStepsTellHowLongSoFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := steps{w: &out, total: 2, interval: tellEvery}
		if err := s.run("building a", func() error { time.Sleep(31 * time.Second); return nil }); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("no compiler")
		if err := s.run("building b", func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got error %v, want %v", err, broken)
		}
		want := `[1/2] building a …
[1/2] building a … 15s so far
[1/2] building a … 30s so far
[1/2] building a: done in 31s
[2/2] building b …
[2/2] building b: failed after 0s
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestBuildOwnKeepsItsNameWhileTheSourcesAreTheSame(t *testing.T) {
	cache := Cache{Dir: t.TempDir()}
	first, err := BuildOwn(t.Context(), cache, "./test/images/pause", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	again, err := BuildOwn(t.Context(), cache, "./test/images/pause", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if first != again {
		t.Errorf("got %s, then %s", first, again)
	}
	if _, err := BuildOwn(t.Context(), cache, "./test/images/nothing-here", io.Discard); err == nil || !strings.Contains(err.Error(), "test/images/nothing-here") {
		t.Errorf("a package that does not exist: got error %v", err)
	}
}

func TestOSName(t *testing.T) {
	for release, want := range map[string]string{
		"PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n": "debian-12",
		"ID=ubuntu\nVERSION_ID=\"24.04\"":                        "ubuntu-24.04",
		"":                                                       "unknown-unknown",
	} {
		if got := osName(release); got != want {
			t.Errorf("osName(%q) = %q, want %q", release, got, want)
		}
	}
}

func TestFailedCommandShowsTheEndOfItsOutput(t *testing.T) {
	_, err := command{argv: []string{"sh", "-c", "seq 1 100; exit 3"}}.run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	if text := err.Error(); !strings.Contains(text, "exit status 3\n…\n71\n") || !strings.HasSuffix(text, "\n100") {
		t.Errorf("got %q", text)
	}
}

func TestVersionInDependencies(t *testing.T) {
	for _, test := range []struct{ depends, prefix, suffix, want string }{
		{"postgresql\n  Depends: postgresql-15\n  Suggests: postgresql-doc\n", "postgresql-", "", "15"},
		{
			"default-jre-headless\n  Depends: java-common\n  Depends: openjdk-17-jre-headless\n",
			"openjdk-", "-jre-headless", "17",
		},
	} {
		if got, err := versionIn(test.depends, test.prefix, test.suffix); err != nil || got != test.want {
			t.Errorf("got %q, %v; want %s", got, err, test.want)
		}
	}
	got, err := versionIn("postgresql\n  Suggests: postgresql-doc\n", "postgresql-", "")
	if err == nil || !strings.Contains(err.Error(), "Suggests: postgresql-doc") {
		t.Errorf("got %q, %v; want an error with what apt-cache said", got, err)
	}
}

func TestLinksStayInTheTree(t *testing.T) {
	tree := t.TempDir()
	below := func(path string) string { return filepath.Join(tree, path) }
	moved := tree + "-moved"
	t.Cleanup(func() { _ = os.RemoveAll(moved) })
	if err := errors.Join(
		os.MkdirAll(below("usr/lib/program"), 0o755),
		os.MkdirAll(below("etc/program"), 0o755),
		os.WriteFile(below("etc/program/settings"), []byte("a=b"), 0o600),
		os.Symlink("/etc/program/settings", below("usr/lib/program/settings")),
		os.Symlink("/etc/nothing", below("usr/lib/program/other")),
		keepLinksInside(tree),
		os.Rename(tree, moved),
	); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(moved, "usr/lib/program/settings"))
	if err != nil || string(text) != "a=b" {
		t.Errorf("got %q, %v", text, err)
	}
	if to, err := os.Readlink(filepath.Join(moved, "usr/lib/program/other")); err != nil || to != "/etc/nothing" {
		t.Errorf("got %q, %v, want a link out of the tree as it was", to, err)
	}
}
