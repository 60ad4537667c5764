package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

// Push copies archives to a registry, below prefix (such as registry.example.org/team), with the credentials of the
// user's Docker configuration. It returns by which reference a cluster finds each image, by the image's short name.
func Push(ctx context.Context, prefix string, archives []Archive, progress io.Writer) (map[string]string, error) {
	references := make(map[string]string, len(archives))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, a := range archives {
		reference, err := PushedName(prefix, a.Name)
		if err != nil {
			return nil, err
		}
		references[a.Name] = reference
		group.Go(func() error {
			if err := push(ctx, a, reference); err != nil {
				return fmt.Errorf("push %s as %s: %w", a.Name, reference, err)
			}
			fmt.Fprintf(progress, "pushed %s\n", reference)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return references, nil
}

// PushedName is the reference of an image below prefix: spiffe/spire-server:1.15.3 below registry.example.org/team is
// registry.example.org/team/spiffe/spire-server:1.15.3.
func PushedName(prefix, short string) (string, error) {
	reference := strings.TrimSuffix(prefix, "/") + "/" + short
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err == nil && strings.Contains(prefix, "://") {
		err = errors.New("a reference has no scheme")
	}
	if err != nil {
		return "", fmt.Errorf("IMAGE_REPOSITORY %q: expected a registry and a path, such as registry.example.org/team: %w", prefix, err)
	}
	return tag.Name(), nil
}

func push(ctx context.Context, a Archive, reference string) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return err
	}
	image, err := tarball.Image(opener(a.Path), nil)
	if err != nil {
		return fmt.Errorf("read %s: %w", a.Path, err)
	}
	return remote.Write(tag, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

func opener(path string) tarball.Opener {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}
