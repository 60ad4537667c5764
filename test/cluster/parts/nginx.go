package parts

import (
	"context"
	"io"
	"path/filepath"
)

// Nginx is nginx and the libraries that this machine lacks, unpacked from its distribution's packages.
type Nginx struct {
	Tree    string // the packages' files, as they would lie below the root
	Program string // below Tree
}

// EnsureNginx provides nginx as [Ensure] provides the programs of a scope, on Debian and its relatives.
func EnsureNginx(ctx context.Context, cache Cache, progress io.Writer) (Nginx, error) {
	p, err := distributionPart(cache, "nginx", "nginx", func(ctx context.Context, stage string) error {
		return unpack(ctx, stage, []string{"nginx"})
	})
	if err != nil {
		return Nginx{}, err
	}
	return Nginx{Tree: filepath.Join(p.dir, "tree"), Program: "usr/sbin/nginx"}, provide(ctx, cache, []part{p}, progress)
}
