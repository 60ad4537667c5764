package environment

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/images"
)

func TestChooseFrom(t *testing.T) {
	localName := func(path string) (string, bool) { return "mine", path == "/cache/mine" }
	for _, tt := range []struct {
		name string
		env  map[string]string
		want choice
		err  string
	}{
		{name: "nothing set", want: choice{local: "default"}},
		{name: "image variables alone", env: map[string]string{LoadCommandVariable: "load"}, want: choice{local: "default"}},
		{name: "kubeconfig of a local cluster", env: map[string]string{KubeconfigVariable: "/cache/mine"}, want: choice{local: "mine"}},
		{name: "foreign with load command", env: map[string]string{KubeconfigVariable: "/k", LoadCommandVariable: "kind load image-archive"},
			want: choice{kubeconfig: "/k", loadCommand: "kind load image-archive"}},
		{name: "foreign with repository", env: map[string]string{KubeconfigVariable: "/k", RepositoryVariable: "r.example.org/team"},
			want: choice{kubeconfig: "/k", repository: "r.example.org/team"}},
		{name: "foreign with neither", env: map[string]string{KubeconfigVariable: "/k"},
			err: "set IMAGE_LOAD_COMMAND to a command that loads an archive"},
		{name: "foreign with both", env: map[string]string{KubeconfigVariable: "/k", RepositoryVariable: "r", LoadCommandVariable: "l"},
			err: "both IMAGE_LOAD_COMMAND and IMAGE_REPOSITORY are set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseFrom(func(key string) string { return tt.env[key] }, localName)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(choice{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestShapeFrom(t *testing.T) {
	for _, tt := range []struct {
		nodes, dualStack string
		want             local.Shape
		err              string
	}{
		{},
		{nodes: "1", want: local.Shape{Nodes: 1}},
		{nodes: "2", dualStack: "true", want: local.Shape{Nodes: 2, DualStack: true}},
		{dualStack: "false"},
		{nodes: "two", err: `NODES="two": expected a number of nodes`},
		{nodes: "0", err: `NODES="0": expected a number of nodes`},
		{nodes: "-1", err: `NODES="-1": expected a number of nodes`},
		{nodes: "2", dualStack: "IPv6", err: `DUAL_STACK="IPv6": expected true or false`},
	} {
		values := map[string]string{NodesVariable: tt.nodes, DualStackVariable: tt.dualStack}
		got, err := shapeFrom(func(name string) string { return values[name] })
		if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%v: got %+v, error %v; want %+v, %q", values, got, err, tt.want, tt.err)
		}
	}
}

func archives(t *testing.T) []images.Archive {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "a folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var out []images.Archive
	for _, short := range []string{"team/one:1", "team/two:2"} {
		tag, err := name.NewTag(short)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, tag.Identifier()+".tar")
		if err := tarball.WriteToFile(path, tag, empty.Image); err != nil {
			t.Fatal(err)
		}
		out = append(out, images.Archive{Name: short, Path: path})
	}
	return out
}

func TestDeliverByCommandRunsItOncePerArchive(t *testing.T) {
	given := archives(t)
	record := filepath.Join(t.TempDir(), "record")
	got, err := deliver(t.Context(), choice{loadCommand: "printf '%s|' >>" + record + " given"}, given, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"team/one:1": "team/one:1", "team/two:2": "team/two:2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if want := "given|" + given[0].Path + "|given|" + given[1].Path + "|"; string(data) != want {
		t.Errorf("the command's arguments: got %q, want %q", data, want)
	}
}

func TestDeliverByCommandThatFails(t *testing.T) {
	_, err := deliver(t.Context(), choice{loadCommand: "false"}, archives(t), io.Discard)
	if err == nil || !strings.Contains(err.Error(), `IMAGE_LOAD_COMMAND="false" failed for `) || !strings.Contains(err.Error(), "the archive of team/one:1") {
		t.Errorf("got error %v", err)
	}
}

func TestDeliverByRepositoryMapsNames(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	prefix := strings.TrimPrefix(server.URL, "http://") + "/mirror"
	got, err := deliver(t.Context(), choice{repository: prefix}, archives(t), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"team/one:1": prefix + "/team/one:1", "team/two:2": prefix + "/team/two:2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, reference := range got {
		tag, err := name.NewTag(reference)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Head(tag); err != nil {
			t.Errorf("%s is not in the registry: %v", reference, err)
		}
	}
}
