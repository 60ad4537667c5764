package parts

import (
	"context"
	"io"
	"path/filepath"
)

// Musl makes programs of C sources with musl in the place of the machine's C library. Both the library and a compiler
// that needs nothing of this machine are unpacked from its distribution's packages.
type Musl struct{ tree string }

// EnsureMusl provides musl as [Ensure] provides the programs of a scope, on Debian and its relatives.
func EnsureMusl(ctx context.Context, cache Cache, progress io.Writer) (Musl, error) {
	p, err := distributionPart(cache, "musl", "musl", func(ctx context.Context, stage string) error {
		return unpackAlone(ctx, stage, []string{"musl-dev", "tcc"})
	})
	if err != nil {
		return Musl{}, err
	}
	return Musl{tree: filepath.Join(p.dir, "tree")}, provide(ctx, cache, []part{p}, progress)
}

// Compile makes a program, which needs no libraries, of a source.
func (m Musl) Compile(ctx context.Context, source, program string) error {
	const kind = "-linux-musl"
	include := filepath.Join(m.tree, "usr/include", machine()+kind)
	library := func(file string) string { return filepath.Join(m.tree, "usr/lib", machine()+kind, file) }
	_, err := command{argv: []string{
		filepath.Join(m.tree, "usr/bin/tcc"), "-B" + filepath.Join(m.tree, "usr/lib", multiarch(), "tcc"),
		"-nostdinc", "-isystem", include, "-nostdlib", "-static", "-o", program,
		library("crt1.o"), library("crti.o"), source, library("libc.a"), library("crtn.o"),
	}}.run(ctx)
	return err
}
