package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Java is a Java runtime, unpacked from the packages of this machine's distribution. It runs sources too.
type Java struct {
	Tree    string // the package's files, as they would lie below the root
	Program string // below Tree
}

// EnsureJava provides Java as [Ensure] provides the programs of a scope, on Debian and its relatives.
func EnsureJava(ctx context.Context, cache Cache, progress io.Writer) (Java, error) {
	p, err := distributionPart(cache, "java", "Java", unpackJava)
	if err != nil {
		return Java{}, err
	}
	if err := provide(ctx, cache, []part{p}, progress); err != nil {
		return Java{}, err
	}
	tree := filepath.Join(p.dir, "tree")
	// Its folder has an alias with another version in it.
	found, err := filepath.Glob(filepath.Join(tree, "usr/lib/jvm/java-*-openjdk-*/bin/java"))
	if err != nil || len(found) == 0 {
		return Java{}, errors.Join(err, fmt.Errorf("expected Java in %s/usr/lib/jvm, got none", tree))
	}
	program, err := filepath.Rel(tree, found[0])
	return Java{Tree: tree, Program: program}, err
}

// unpackJava leaves out what the package depends on for sound, fonts and printers. The libraries that are left are on
// every machine that has apt-get.
func unpackJava(ctx context.Context, stage string) error {
	const latest = "default-jre-headless" // fetching it also sees to the package lists
	if err := unpackAlone(ctx, stage, []string{latest}); err != nil {
		return err
	}
	const prefix, suffix = "openjdk-", "-jre-headless"
	version, err := defaultVersion(ctx, latest, prefix, suffix)
	if err != nil {
		return err
	}
	if err := unpackAlone(ctx, stage, []string{prefix + version + suffix}); err != nil {
		return err
	}
	return keepLinksInside(filepath.Join(stage, "tree")) // its settings lie in /etc
}

// keepLinksInside makes links relative that lead from the root to a file of the tree.
func keepLinksInside(tree string) error {
	return filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		to, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(to) || !exists(filepath.Join(tree, to)) {
			return err
		}
		inside, err := filepath.Rel(filepath.Dir(path), filepath.Join(tree, to))
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(path), os.Symlink(inside, path))
	})
}
