package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/filters/imagetag"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/spire-injector/spire-injector/test/images"
)

// writeManifests renders each kustomization that people install, with the release's image, for a plain `kubectl apply
// -f`.
func (r release) writeManifests(_ context.Context, stage string) error {
	folders, err := kustomizations(filepath.Join(r.root, "manifests"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		manifests, err := r.render(filepath.Join(r.root, "manifests", folder))
		if err != nil {
			return fmt.Errorf("manifests/%s: %w", folder, err)
		}
		if err := os.WriteFile(filepath.Join(stage, fileOf(folder)), manifests, 0o644); err != nil {
			return err
		}
	}
	return nil
}

var componentKind = regexp.MustCompile(`(?m)^kind: Component$`)

// kustomizations are the folders below manifests that people apply: of SPIRE and of the injector the base, each
// overlay, and what stands beside those. A component is for kustomizations of others.
func kustomizations(manifests string) ([]string, error) {
	var folders []string
	for _, pattern := range []string{"spire/*", "spire/overlays/*", "injector/*", "injector/overlays/*"} {
		files, err := filepath.Glob(filepath.Join(manifests, pattern, "kustomization.yaml"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if componentKind.Match(text) {
				continue
			}
			folder, err := filepath.Rel(manifests, filepath.Dir(file))
			if err != nil {
				return nil, err
			}
			folders = append(folders, filepath.ToSlash(folder))
		}
	}
	return folders, nil
}

// fileOf names the file of a kustomization: injector/base is injector.yaml, injector/overlays/csi is injector-csi.yaml.
func fileOf(folder string) string {
	parts := slices.DeleteFunc(strings.Split(folder, "/"), func(part string) bool { return part == "base" || part == "overlays" })
	return strings.Join(parts, "-") + ".yaml"
}

func (r release) render(folder string) ([]byte, error) {
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	image := imagetag.Filter{
		ImageTag: types.Image{Name: imageInManifests(), NewName: r.repository(), NewTag: r.source.version},
		FsSlice:  types.FsSlice{{Path: "spec/template/spec/containers[]/image"}, {Path: "spec/template/spec/initContainers[]/image"}},
	}
	if err := objects.ApplyFilter(image); err != nil {
		return nil, err
	}
	manifests, err := objects.AsYaml()
	if err != nil {
		return nil, err
	}
	// The platform file names the image too, and is a text to kustomize.
	manifests = bytes.ReplaceAll(manifests, []byte(images.Injector), []byte(r.repository()+":"+r.source.version))
	return append(fmt.Appendf(nil, "# %s %s: %s\n", program, r.source.version, fileOf(folder)), bytes.TrimSpace(manifests)...), nil
}
