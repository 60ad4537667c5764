package images

import (
	"fmt"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Open describes an archive that someone else may have made. Its Name is the first that the archive gives its image.
func Open(path string) (Archive, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Archive{}, err
	}
	manifest, err := tarball.LoadManifest(opener(abs))
	if err != nil {
		return Archive{}, fmt.Errorf("%s is no image archive as `docker save` makes it: %w", path, err)
	}
	if len(manifest) != 1 || len(manifest[0].RepoTags) == 0 {
		return Archive{}, fmt.Errorf("%s has %d images: expected one, with a name", path, len(manifest))
	}
	return Archive{Name: manifest[0].RepoTags[0], Path: abs}, nil
}
