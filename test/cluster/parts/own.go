package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// keepOwn is how long builds of older sources stay: longer than any run that may still be reading them.
const keepOwn = 24 * time.Hour

// BuildOwn builds the main package at pkg (such as ./cmd/sample) from the working tree, statically, and returns the
// program's path, whose name has a hash of its content: the same sources give the same path, other sources another.
func BuildOwn(ctx context.Context, cache Cache, pkg string, progress io.Writer) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return buildIn(ctx, cache, root, filepath.Base(pkg), pkg, progress)
}

// BuildPrevious is [BuildOwn] from the sources of an earlier version.
func BuildPrevious(ctx context.Context, cache Cache, s Sources, pkg string, progress io.Writer) (string, error) {
	return buildIn(ctx, cache, s.Root, "previous-"+filepath.Base(pkg), pkg, progress)
}

// buildIn builds from the sources below root. The program's name begins with name.
func buildIn(ctx context.Context, cache Cache, root, name, pkg string, progress io.Writer) (string, error) {
	unlock, err := cache.Lock(ctx, "build-own", progress) // who builds parts holds another for minutes
	if err != nil {
		return "", err
	}
	defer unlock()
	folder := filepath.Join(cache.Dir, "own")
	// The go command links again only when the file at its target is not what it would write.
	latest := filepath.Join(folder, name)
	build := command{dir: root, env: append([]string{"CGO_ENABLED=0"}, goEnv...),
		argv: []string{"go", "build", "-buildvcs=false", "-ldflags", strip, "-o", latest, pkg}}
	if _, err := build.run(ctx); err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	sum, err := FileSum(latest)
	if err != nil {
		return "", err
	}
	kept := filepath.Join(folder, name+"-"+sum[:12])
	if exists(kept) {
		return kept, nil
	}
	if err := prune(folder, name+"-*", time.Now().Add(-keepOwn)); err != nil {
		return "", err
	}
	if err := copyProgram(latest, kept); err != nil {
		return "", err
	}
	return kept, nil
}

// FileSum is the SHA-256 of a file, in hexadecimal digits.
func FileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyProgram copies by way of a temporary name. It is no link, because the go command may write into its target.
func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.CreateTemp(filepath.Dir(to), stagePrefix)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Chmod(out.Name(), 0o755); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// prune removes the files in folder that match pattern and were not used since before.
func prune(folder, pattern string, before time.Time) error {
	files, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		return err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove what is no longer used: %w", err)
		}
	}
	return nil
}
