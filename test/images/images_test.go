package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file writes a program of the test's own and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(source string) Image {
	return Image{
		Name:       "team/program:v1",
		Entries:    []Entry{{Path: "/opt/bin/program", Source: source}, {Path: "/opt/p", Link: "bin/program"}, {Path: "/opt/text", Text: "some"}, temporary()},
		Entrypoint: []string{"/opt/bin/program", "run"},
		User:       nonRoot,
	}
}

func TestLayerHasFoldersBeforeContentAndNothingOfThisMachine(t *testing.T) {
	entries, err := sample(file(t, "hello")).complete()
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	if err := writeLayer(&layer, entries); err != nil {
		t.Fatal(err)
	}
	type header struct {
		Name, Link, Text string
		Mode             int64
	}
	var got []header
	for r := tar.NewReader(&layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header{h.Name, h.Linkname, string(text), h.Mode})
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %s, owner %d:%d %q; want the fixed time and root", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
	}
	want := []header{
		{Name: "opt/", Mode: 0o755},
		{Name: "opt/bin/", Mode: 0o755},
		{Name: "opt/bin/program", Text: "hello", Mode: 0o755},
		{Name: "opt/p", Link: "bin/program", Mode: 0o777},
		{Name: "opt/text", Text: "some", Mode: 0o755},
		{Name: "tmp/", Mode: 0o1777},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestImpossibleImages(t *testing.T) {
	for want, entries := range map[string][]Entry{
		`path "bin/x" must be absolute and clean`:     {{Path: "bin/x"}},
		`path "/bin/../x" must be absolute and clean`: {{Path: "/bin/../x"}},
		"/x is there twice":                           {{Path: "/x", Dir: true}, {Path: "/x", Link: "y"}},
		"/x/y/z lies below /x/y, which is no folder":  {{Path: "/x/y/z", Dir: true}, {Path: "/x/y", Link: "q"}},
		"no such file or directory":                   {{Path: "/x", Source: "/does/not/exist"}},
	} {
		if _, err := (Image{Name: "i:1", Entries: entries}).key(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

func TestArchiveIsTheSameForTheSameFilesAndSaysHowToRun(t *testing.T) {
	source := file(t, "hello")
	var data [2][]byte
	for n := range data {
		archive, err := write(t.Context(), t.TempDir(), sample(source))
		if err != nil {
			t.Fatal(err)
		}
		if data[n], err = os.ReadFile(archive.Path); err != nil {
			t.Fatal(err)
		}
		if opened, err := Open(archive.Path); err != nil || opened != archive {
			t.Errorf("Open: got %v, %v; want %v", opened, err, archive)
		}
		tag, err := name.NewTag(archive.Name)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(archive.Path, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"/opt/bin/program", "run"}, config.Config.Entrypoint); diff != "" {
			t.Errorf("entry point (-want +got):\n%s", diff)
		}
		if config.Config.User != "65532:65532" || config.OS != "linux" {
			t.Errorf("user %q, OS %q", config.Config.User, config.OS)
		}
	}
	if !bytes.Equal(data[0], data[1]) {
		t.Error("two archives of the same files differ")
	}
}

func TestArchiveFollowsContent(t *testing.T) {
	source, folder := file(t, "hello"), t.TempDir()
	first, err := write(t.Context(), folder, sample(source))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := write(t.Context(), folder, sample(source))
	if err != nil {
		t.Fatal(err)
	}
	if first.Path == second.Path {
		t.Error("another program, the same archive")
	}
	user := sample(source)
	user.User = ""
	third, err := write(t.Context(), folder, user)
	if err != nil {
		t.Fatal(err)
	}
	if third.Path == second.Path {
		t.Error("another user, the same archive")
	}
	text := sample(source)
	text.Entries[2].Text = "other"
	fourth, err := write(t.Context(), folder, text)
	if err != nil {
		t.Fatal(err)
	}
	if fourth.Path == second.Path {
		t.Error("another text, the same archive")
	}
	capable := sample(source)
	capable.Entries[0].Capabilities = NetAdminPermitted
	fifth, err := write(t.Context(), folder, capable)
	if err != nil {
		t.Fatal(err)
	}
	if fifth.Path == second.Path {
		t.Error("other capabilities, the same archive")
	}
}

func TestOpenRefusesWhatIsNoArchive(t *testing.T) {
	if _, err := Open(file(t, "text")); err == nil || !strings.Contains(err.Error(), "is no image archive") {
		t.Errorf("got error %v", err)
	}
}

func TestPushedName(t *testing.T) {
	for _, tt := range []struct{ prefix, short, want, err string }{
		{prefix: "registry.example.org/team", short: SPIREServer, want: "registry.example.org/team/spiffe/spire-server:1.15.3"},
		{prefix: "localhost:5000/", short: Injector, want: "localhost:5000/spire-injector/spire-injector:dev"},
		{prefix: "https://registry.example.org", short: Injector, err: "IMAGE_REPOSITORY \"https://registry.example.org\": expected a registry and a path"},
		{prefix: "registry.example.org/Team", short: Injector, err: "expected a registry and a path"},
	} {
		got, err := PushedName(tt.prefix, tt.short)
		if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("PushedName(%q, %q) = %q, %v; want %q, %q", tt.prefix, tt.short, got, err, tt.want, tt.err)
		}
	}
}

func TestPushArrivesWhole(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	archive, err := write(t.Context(), t.TempDir(), sample(file(t, "hello")))
	if err != nil {
		t.Fatal(err)
	}
	prefix := strings.TrimPrefix(server.URL, "http://") + "/mirror"
	references, err := Push(t.Context(), prefix, []Archive{archive}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"team/program:v1": prefix + "/team/program:v1"}
	if diff := cmp.Diff(want, references); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	tag, err := name.NewTag(references["team/program:v1"])
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("opt/bin/program did not arrive: %v", err)
		}
		if h.Name == "opt/bin/program" {
			if text, err := io.ReadAll(r); err != nil || string(text) != "hello" {
				t.Errorf("got %q, %v", text, err)
			}
			return
		}
	}
}

func TestPushSaysWhichImageFailed(t *testing.T) {
	archive := Archive{Name: "team/program:v1", Path: filepath.Join(t.TempDir(), "gone.tar")}
	_, err := Push(t.Context(), "127.0.0.1:1/mirror", []Archive{archive}, io.Discard)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "push team/program:v1 as 127.0.0.1:1/mirror/team/program:v1") {
		t.Errorf("got error %v", err)
	}
}

func TestLibrariesOfADynamicProgram(t *testing.T) {
	entries, err := librariesOf("/bin/sh", libraryFolders)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e.Path))
	}
	joined := strings.Join(names, " ")
	if !strings.Contains(joined, "ld-") || !strings.Contains(joined, "libc.") {
		t.Errorf("libraries of /bin/sh: %v; want the loader and the C library", names)
	}
	if _, err := librariesOf("/bin/sh", []string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "/bin/sh needs libc") {
		t.Errorf("with no library to be found: got error %v", err)
	}
}
