package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Archive is one image as a file, in the format of `docker save`.
type Archive struct {
	Name string // as in manifests
	Path string // ends in a hash of the image's content
}

// keepArchives is how long archives of older content stay: longer than any run that may still be loading them.
const keepArchives = 24 * time.Hour

// write makes i's archive in folder unless it is there already.
func write(ctx context.Context, folder string, i Image) (Archive, error) {
	key, err := i.key()
	if err != nil {
		return Archive{}, err
	}
	stem := strings.NewReplacer("/", "-", ":", "-").Replace(i.Name)
	archive := Archive{Name: i.Name, Path: filepath.Join(folder, stem+"-"+key+".tar")}
	if _, err := os.Stat(archive.Path); err == nil {
		return archive, nil
	}
	if err := ctx.Err(); err != nil {
		return Archive{}, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Archive{}, err
	}
	if err := prune(folder, stem+"-????????????.tar", time.Now().Add(-keepArchives)); err != nil {
		return Archive{}, err
	}
	stage, err := os.MkdirTemp(folder, "unfinished-")
	if err != nil {
		return Archive{}, err
	}
	defer func() { _ = os.RemoveAll(stage) }()
	if err := writeArchive(stage, i); err != nil {
		return Archive{}, fmt.Errorf("make image %s: %w", i.Name, err)
	}
	return archive, os.Rename(filepath.Join(stage, "image.tar"), archive.Path)
}

func writeArchive(stage string, i Image) error {
	entries, err := i.complete()
	if err != nil {
		return err
	}
	layer, err := newPlainLayer(filepath.Join(stage, "layer.tar"), entries)
	if err != nil {
		return err
	}
	image, err := assemble(empty.Image, i, layer, Publication{Architecture: runtime.GOARCH, Created: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	tag, err := name.NewTag(i.Name)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(filepath.Join(stage, "image.tar"), tag, image)
}

func assemble(base v1.Image, i Image, layer v1.Layer, p Publication) (v1.Image, error) {
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", p.Architecture
	config.Created = v1.Time{Time: p.Created.UTC()}
	config.Config = v1.Config{Entrypoint: i.Entrypoint, User: i.User, Env: []string{"PATH=" + searchPath}, WorkingDir: "/", Labels: p.Labels}
	return mutate.ConfigFile(image, config)
}

// prune removes what an interrupted run or older content left in folder and nothing has used since before.
func prune(folder, pattern string, before time.Time) error {
	for _, p := range []string{pattern, "unfinished-*"} {
		found, err := filepath.Glob(filepath.Join(folder, p))
		if err != nil {
			return err
		}
		for _, path := range found {
			info, err := os.Stat(path)
			if err != nil || info.ModTime().After(before) {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("remove an image that is no longer used: %w", err)
			}
		}
	}
	return nil
}
