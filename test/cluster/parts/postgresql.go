package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// PostgreSQL is PostgreSQL's server and the libraries that this machine lacks, unpacked from its distribution's
// packages.
type PostgreSQL struct {
	Tree    string // the packages' files, as they would lie below the root
	Version string // as in the names of its folders: 15
}

// EnsurePostgreSQL provides PostgreSQL as [Ensure] provides the programs of a scope, on Debian and its relatives.
func EnsurePostgreSQL(ctx context.Context, cache Cache, progress io.Writer) (PostgreSQL, error) {
	p, err := distributionPart(cache, "postgresql", "PostgreSQL", unpackPostgreSQL)
	if err != nil {
		return PostgreSQL{}, err
	}
	if err := provide(ctx, cache, []part{p}, progress); err != nil {
		return PostgreSQL{}, err
	}
	tree := filepath.Join(p.dir, "tree")
	servers, err := filepath.Glob(filepath.Join(tree, "usr/lib/postgresql/*/bin/postgres"))
	if err != nil || len(servers) != 1 {
		return PostgreSQL{}, errors.Join(err, fmt.Errorf("expected one PostgreSQL in %s, got %q", tree, servers))
	}
	return PostgreSQL{Tree: tree, Version: filepath.Base(filepath.Dir(filepath.Dir(servers[0])))}, nil
}

func unpackPostgreSQL(ctx context.Context, stage string) error {
	// A package without files, which depends on the version that this distribution has. Fetching it also sees to the
	// package lists.
	const latest = "postgresql"
	if err := unpack(ctx, stage, []string{latest}); err != nil {
		return err
	}
	version, err := defaultVersion(ctx, latest, "postgresql-", "")
	if err != nil {
		return err
	}
	return unpack(ctx, stage, []string{"postgresql-" + version, "postgresql-client-" + version, "libpq5"})
}
