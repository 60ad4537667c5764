package images

import (
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Publication is what an image tells of itself beside its content.
type Publication struct {
	Architecture string // as in GOARCH
	Created      time.Time
	Labels       map[string]string
}

// InjectorOf is the injector's image with a program of whatever architecture.
func InjectorOf(name, program string) Image {
	i := ownImage(name, "/spire-injector", program)
	i.Entries[0].Capabilities = NetAdminPermitted
	return i
}

// Publish makes an image with OCI's media types and a compressed layer. The same files give the same bytes.
func Publish(i Image, p Publication) (v1.Image, error) {
	entries, err := i.complete()
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeLayer(w, entries)) }()
		return r, nil
	}
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return assemble(base, i, layer, p)
}

// Annotations of an archive's index, by which programs find the image's name.
const (
	annotationTag  = "org.opencontainers.image.ref.name"
	annotationName = "io.containerd.image.name"
)

// WriteOCI writes one image of several platforms as an archive in OCI's image layout, which takes along its full name
// and its tag.
func WriteOCI(path, name, tag string, platforms []v1.Image, annotations map[string]string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range platforms {
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		platform := v1.Platform{OS: config.OS, Architecture: config.Architecture}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	index = mutate.Annotations(index, annotations).(v1.ImageIndex)
	folder, err := os.MkdirTemp(filepath.Dir(path), "unfinished-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	written, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{annotationTag: tag, annotationName: name})
	if err := written.AppendIndex(index, named); err != nil {
		return err
	}
	return writeFolder(path, folder)
}

// writeFolder writes what is in a folder as a tar archive.
func writeFolder(path, folder string) error {
	files, err := filesBelow(folder)
	if err != nil {
		return err
	}
	entries, err := (Image{Name: path, Entries: inImage(folder, files)}).complete()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := writeLayer(f, entries); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
