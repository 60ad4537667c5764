package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// The command is a plugin of kubectl where it has this name; kubectl asks the other program for completions.
const (
	plugin          = "kubectl-spiffe"
	pluginCompletes = "kubectl_complete-spiffe"
)

const completes = "#!/bin/sh\nexec kubectl spiffe __complete \"$@\"\n"

// archive is the name of p's plugin.
func (p platform) archive() string { return plugin + "-" + p.os + "-" + p.arch + ".tar.gz" }

// writePlugin packs the programs for krew, and writes the manifest by which it installs them.
func (r release) writePlugin(_ context.Context, stage string) error {
	readme, err := os.ReadFile(filepath.Join(r.root, "README.md"))
	if err != nil {
		return err
	}
	var offered []any
	for _, p := range platforms() {
		program, err := os.ReadFile(filepath.Join(stage, p.file()))
		if err != nil {
			return err
		}
		data, err := packed([]packedFile{{plugin, program, 0o755}, {pluginCompletes, []byte(completes), 0o755}, {"README.md", readme, 0o644}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(stage, p.archive()), data, 0o600); err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		offered = append(offered, map[string]any{
			"selector": map[string]any{"matchLabels": map[string]string{"os": p.os, "arch": p.arch}},
			"uri":      fmt.Sprintf("%s/releases/download/%s/%s", homepage, r.source.version, p.archive()),
			"sha256":   hex.EncodeToString(sum[:]),
			"bin":      plugin,
		})
	}
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
		"kind":       "Plugin",
		"metadata":   map[string]string{"name": "spiffe"},
		"spec": map[string]any{
			"version":          r.source.version,
			"homepage":         homepage,
			"shortDescription": "Explain identities and mutual TLS of injected pods",
			"description":      "Lists, draws and explains which workloads have a SPIFFE identity by spire-injector, who may call whom, and why not.\n",
			"platforms":        offered,
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(stage, "krew-spiffe.yaml"), manifest, 0o600)
}

const homepage = "https://github.com/spire-injector/spire-injector"

type packedFile struct {
	name string
	data []byte
	mode int64
}

// packed is the same bytes for the same files.
func packed(files []packedFile) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		if err := archive.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
