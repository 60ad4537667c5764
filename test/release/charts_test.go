package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

func testCharts(t *testing.T, r release, folder string) {
	type chart struct{ Name, Version, AppVersion string }
	for name, want := range map[string]chart{
		"spire-injector": {"spire-injector", "1.2.3", "v1.2.3"},
		"spire":          {"spire", "1.2.3", "1.15.3"},
	} {
		files := unpackChart(t, filepath.Join(folder, name+"-1.2.3.tgz"))
		var got chart
		if err := yaml.Unmarshal(files[name+"/Chart.yaml"], &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
		// By way of a link.
		if base := map[string]string{"spire-injector": "base/deployment.yaml", "spire": "base/server.yaml"}[name]; len(files[name+"/files/"+base]) == 0 {
			t.Errorf("%s: the package has no files/%s", name, base)
		}
	}
	var values struct {
		Image struct{ Repository, Tag string }
	}
	files := unpackChart(t, filepath.Join(folder, "spire-injector-1.2.3.tgz"))
	if err := yaml.Unmarshal(files["spire-injector/values.yaml"], &values); err != nil || values.Image.Repository != r.image.String() || values.Image.Tag != "" {
		t.Errorf("values: got %+v, %v; want the image %s, by the chart's appVersion", values, err, r.image)
	}
}

func unpackChart(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
