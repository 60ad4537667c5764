package environment

import (
	"context"
	"io"
	"maps"
	"os"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

// With brings further images to the cluster that [Prepare] provided, and returns the environment that has them too.
func (e Environment) With(ctx context.Context, archives []images.Archive, progress io.Writer) (Environment, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return Environment{}, err
	}
	references := sameNames(archives)
	if name, here := local.NameOf(cache, e.Kubeconfig); here {
		_, err = local.Up(ctx, local.Options{Name: name, Cache: cache, Images: archives, Progress: progress})
	} else {
		var c choice
		if c, err = foreignFrom(os.Getenv); err == nil {
			references, err = deliver(ctx, c, archives, progress)
		}
	}
	if err != nil {
		return Environment{}, err
	}
	e.Images, e.Contents = maps.Clone(e.Images), maps.Clone(e.Contents)
	maps.Copy(e.Images, references)
	maps.Copy(e.Contents, contents(archives))
	return e, nil
}
