package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// testPlugin installs the plugin of each platform as krew does: what the manifest names is there, with its sum, and has
// the platform's program.
func testPlugin(t *testing.T, folder string) {
	files := contents(t, folder)
	var manifest struct {
		Spec struct {
			Version   string
			Platforms []struct {
				Selector struct{ MatchLabels map[string]string }
				URI      string
				SHA256   string
				Bin      string
			}
		}
	}
	if err := yaml.Unmarshal(files["krew-spiffe.yaml"], &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Spec.Version != "v1.2.3" || len(manifest.Spec.Platforms) != len(platforms()) {
		t.Errorf("got %+v", manifest)
	}
	for _, p := range manifest.Spec.Platforms {
		of := platform{p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"]}
		name := p.URI[strings.LastIndex(p.URI, "/")+1:]
		sum := sha256.Sum256(files[name])
		if hex.EncodeToString(sum[:]) != p.SHA256 || len(files[name]) == 0 || !strings.Contains(p.URI, "/v1.2.3/") {
			t.Errorf("%s: got the sum %s of %d bytes at %s", of, p.SHA256, len(files[name]), p.URI)
		}
		if !bytes.Equal(unpacked(t, files[name])[p.Bin], files[of.file()]) {
			t.Errorf("%s: expected its program as %s", of, p.Bin)
		}
	}
}

func unpacked(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zipped)
	files := map[string][]byte{}
	for {
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
