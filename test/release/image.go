package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/spire-injector/spire-injector/test/images"
)

// imageInManifests is the image's name there, without its tag.
func imageInManifests() string {
	image, _, _ := strings.Cut(images.Injector, ":")
	return image
}

// repository is the image's name as manifests have it, which leave Docker Hub's out.
func (r release) repository() string {
	return strings.TrimPrefix(r.image.Name(), name.DefaultRegistry+"/")
}

// writeImages writes one archive with the image of every platform, and one of each for programs that read no OCI
// layout.
func (r release) writeImages(_ context.Context, stage string) error {
	reference := r.image.Tag(r.source.version)
	var all []v1.Image
	for _, p := range platforms() {
		if !p.ofImages() {
			continue
		}
		image, err := images.Publish(images.InjectorOf(reference.String(), filepath.Join(stage, p.file())),
			images.Publication{Architecture: p.arch, Created: r.source.time, Labels: r.labels()})
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if err := tarball.WriteToFile(filepath.Join(stage, p.file()+".image.tar"), reference, image); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		all = append(all, image)
	}
	// Kubernetes knows Docker Hub under another name than its registry has.
	full := strings.Replace(reference.Name(), name.DefaultRegistry, "docker.io", 1)
	return images.WriteOCI(filepath.Join(stage, fileImage), full, reference.TagStr(), all, r.labels())
}

// fileImage is the archive of the image for all platforms.
const fileImage = program + ".oci.tar"

// labels say where an image comes from, under the names that OCI gives such.
func (r release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	labels := map[string]string{
		prefix + "title":       program,
		prefix + "description": "One pod label gives a SPIFFE identity and mutual TLS",
		prefix + "version":     r.source.version,
		prefix + "created":     r.source.time.UTC().Format(time.RFC3339),
	}
	if r.source.commit != "" {
		labels[prefix+"revision"] = r.source.commit
	}
	return labels
}
