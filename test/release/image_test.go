package main

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/spire-injector/spire-injector/test/images"
)

func testImages(t *testing.T, r release, folder string) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	index := openLayout(t, filepath.Join(folder, "spire-injector.oci.tar"), r.image.Name()+":v1.2.3", "v1.2.3")
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Annotations["org.opencontainers.image.revision"] != r.source.commit {
		t.Errorf("annotations of the index: %v", manifest.Annotations)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.String())
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, r, m.Platform.String(), image, machines[m.Platform.Architecture])
		path := filepath.Join(folder, "spire-injector-linux-"+m.Platform.Architecture+".image.tar")
		archive, err := images.Open(path)
		if err != nil || archive.Name != r.image.Name()+":v1.2.3" {
			t.Errorf("%s: %v, %v", path, archive, err)
		}
		alone, err := tarball.ImageFromPath(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, r, path, alone, machines[m.Platform.Architecture])
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// openLayout unpacks an archive and returns the one index in it, which has to have that name and tag.
func openLayout(t *testing.T, archive, full, tag string) v1.ImageIndex {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "--extract", "--file", archive, "--directory", folder).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("%d in the archive, expected one index", len(manifest.Manifests))
	}
	one := manifest.Manifests[0]
	want := map[string]string{"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": full}
	if diff := cmp.Diff(want, one.Annotations); diff != "" {
		t.Errorf("names in the archive (-want +got):\n%s", diff)
	}
	inner, err := index.ImageIndex(one.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

func checkImage(t *testing.T, r release, what string, image v1.Image, machine elf.Machine) {
	t.Helper()
	if err := validate.Image(image); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/spire-injector"}, User: "65532:65532", WorkingDir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "spire-injector", "org.opencontainers.image.description": "One pod label gives a SPIFFE identity and mutual TLS",
			"org.opencontainers.image.version": "v1.2.3", "org.opencontainers.image.revision": r.source.commit,
			"org.opencontainers.image.created": r.source.time.UTC().Format("2006-01-02T15:04:05Z"),
		},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" || config.OS != "linux" {
		t.Errorf("%s: OS %s, config (-want +got):\n%s", what, config.OS, diff)
	}
	files := mutate.Extract(image)
	defer files.Close()
	var names []string
	for reader := tar.NewReader(files); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if header.Name == "spire-injector" {
			program, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			checkProgram(t, what, program, machine)
			if got := header.PAXRecords["SCHILY.xattr.security.capability"]; got != images.NetAdminPermitted {
				t.Errorf("%s: capabilities of the program: %q", what, got)
			}
		}
	}
	if diff := cmp.Diff([]string{"spire-injector", "tmp"}, names); diff != "" {
		t.Errorf("%s: files (-want +got):\n%s", what, diff)
	}
}

func TestNameOfTheImageInManifests(t *testing.T) {
	t.Parallel()
	for _, image := range []string{imageInManifests(), "registry.example.org/team/injector"} {
		repository, err := name.NewRepository(image)
		if err != nil {
			t.Fatal(err)
		}
		if got := (release{image: repository}).repository(); got != image {
			t.Errorf("got %s, want %s", got, image)
		}
	}
}
