package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/images"
)

// testManifests looks at every image that the manifests name, also in the platform file.
func testManifests(t *testing.T, r release, folder string) {
	own := r.image.String() + ":v1.2.3"
	const chcon = "ubi10/ubi-minimal:10.1-1776834797" // OpenShift's, where SELinux types are set
	known := []string{own, images.SPIREServer, images.SPIREAgent, images.Envoy, images.CSIDriver, images.CSIRegistrar, chcon}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"spire.yaml", "spire-csi.yaml", "spire-ha.yaml", "injector.yaml", "injector-cert-manager.yaml", "injector-csi.yaml",
		"injector-unix-socket.yaml", "injector-monitoring.yaml"} {
		if !slices.Contains(files, filepath.Join(folder, want)) {
			t.Errorf("no %s", want)
		}
	}
	for _, file := range files {
		var named []string
		for _, object := range readObjects(t, file) {
			named = append(named, imagesIn(t, object.Object)...)
		}
		for _, image := range named {
			if !slices.Contains(known, image) {
				t.Errorf("%s names the image %s, expected one of %q", filepath.Base(file), image, known)
			}
		}
		runs := strings.HasPrefix(filepath.Base(file), "injector") && !strings.HasSuffix(file, "monitoring.yaml")
		if slices.Contains(named, own) != runs {
			t.Errorf("%s: images %q; expected the release's: %t", filepath.Base(file), named, runs)
		}
	}
}

func readObjects(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []unstructured.Unstructured
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, document)
		}
		if object.GetAPIVersion() == "" || object.GetKind() == "" || object.GetName() == "" {
			t.Errorf("%s: expected an object, got\n%s", file, document)
		}
		objects = append(objects, object)
	}
	return objects
}

// imagesIn are the values of all keys called image, also in files that a ConfigMap has.
func imagesIn(t *testing.T, value any) []string {
	t.Helper()
	var found []string
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			text, isText := child.(string)
			switch {
			case key == "image" && isText:
				found = append(found, text)
			case key == "config.yaml" && isText:
				var file map[string]any
				if err := yaml.Unmarshal([]byte(text), &file); err != nil {
					t.Fatal(err)
				}
				found = append(found, imagesIn(t, file)...)
			default:
				found = append(found, imagesIn(t, child)...)
			}
		}
	case []any:
		for _, child := range v {
			found = append(found, imagesIn(t, child)...)
		}
	}
	return found
}

func TestFilesOfKustomizations(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{
		"spire/base": "spire.yaml", "injector/base": "injector.yaml", "injector/overlays/unix-socket": "injector-unix-socket.yaml",
		"injector/monitoring": "injector-monitoring.yaml",
	} {
		if got := fileOf(folder); got != want {
			t.Errorf("%s: got %s, want %s", folder, got, want)
		}
	}
}
