package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sources are the project's as they were at a commit.
type Sources struct {
	Commit string
	Root   string // their top folder, in the cache
}

// ErrNoHistory says that nobody can tell what was before: the sources are no checkout of git's, or one without its
// history.
var ErrNoHistory = errors.New("these sources have no history")

// Previous provides the sources of the program at pkg (such as ./cmd/sample) in the version before the working tree's,
// so that one can be upgraded to the other. Not every commit changes a program: the version before is the last commit
// if the working tree differs from that, and otherwise the commit before the one that changed the program last. A merge
// is one change, of the branch that it was merged into. What only tests use is no part of a program.
func Previous(ctx context.Context, cache Cache, pkg string, progress io.Writer) (Sources, error) {
	root, err := Root()
	if err != nil {
		return Sources{}, err
	}
	return previous(ctx, cache, root, pkg, progress)
}

func previous(ctx context.Context, cache Cache, root, pkg string, progress io.Writer) (Sources, error) {
	commit, err := previousCommit(ctx, root, pkg)
	if err != nil {
		return Sources{}, fmt.Errorf("find the version of %s before this one: %w: %w", pkg, ErrNoHistory, err)
	}
	unlock, err := cache.Lock(ctx, "build", progress)
	if err != nil {
		return Sources{}, err
	}
	defer unlock()
	s := Sources{Commit: commit, Root: filepath.Join(cache.Dir, sourcesPrefix+commit[:12])}
	if exists(s.Root) {
		return s, nil
	}
	if err := cache.forgetSources(time.Now().Add(-keepOwn)); err != nil {
		return Sources{}, err
	}
	return s, cache.produce(s.Root, func(stage string) error { return checkOut(ctx, root, commit, stage) })
}

const sourcesPrefix = "sources-"

// previousCommit returns the commit's full hash.
func previousCommit(ctx context.Context, root, pkg string) (string, error) {
	git := func(args ...string) (string, error) {
		out, err := (command{dir: root, argv: append([]string{"git"}, args...)}).run(ctx)
		return strings.TrimSpace(out), err
	}
	head, err := git("rev-parse", "--verify", "HEAD")
	if err != nil {
		return "", fmt.Errorf("expected the project's sources with their history, as git has them: %w", err)
	}
	program, err := pathsOf(ctx, root, pkg)
	if err != nil {
		return "", err
	}
	changed, err := git(append([]string{"status", "--porcelain", "--"}, program...)...)
	if err != nil || changed != "" {
		return head, err
	}
	last, err := git(append([]string{"log", "-1", "--first-parent", "--format=%H", "HEAD", "--"}, program...)...)
	if err != nil {
		return "", err
	}
	before, err := git("rev-parse", "--verify", last+"^1")
	if err != nil {
		return "", fmt.Errorf("expected a commit before %.12s, the last that changed the program, but the history ends there: "+
			"fetch more of it, by git fetch --unshallow or in what made this checkout (%w)", last, err)
	}
	return before, nil
}

// pathsOf are git's path specifications of a program: the folders of the packages that it is made of, and the versions
// of all others.
func pathsOf(ctx context.Context, root, pkg string) ([]string, error) {
	list := command{dir: root, env: append([]string{"CGO_ENABLED=0"}, goEnv...),
		argv: []string{"go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", pkg}}
	out, err := list.run(ctx)
	if err != nil {
		return nil, err
	}
	paths := []string{"go.mod", "go.sum"}
	for dir := range strings.FieldsFuncSeq(out, func(r rune) bool { return r == '\n' }) {
		path, err := filepath.Rel(root, dir)
		if err != nil {
			return nil, err
		}
		paths = append(paths, filepath.ToSlash(path))
	}
	return append(paths, ":(exclude,glob)**/*_test.go", ":(exclude,glob)**/testdata/**"), nil
}

// checkOut writes the project's files of a commit into a folder.
func checkOut(ctx context.Context, root, commit, folder string) error {
	archive := filepath.Join(folder, "sources.tar")
	for _, argv := range [][]string{
		{"git", "archive", "--format=tar", "--output=" + archive, commit},
		{"tar", "--extract", "--file=" + archive, "--directory=" + folder},
	} {
		if _, err := (command{dir: root, argv: argv}).run(ctx); err != nil {
			return fmt.Errorf("unpack the sources of %s: %w", commit, err)
		}
	}
	return os.Remove(archive)
}

// forgetSources removes those that were unpacked before. The caller holds the build lock.
func (c Cache) forgetSources(before time.Time) error {
	folders, err := filepath.Glob(filepath.Join(c.Dir, sourcesPrefix+"*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || info.ModTime().After(before) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove sources that are no longer used: %w", err)
		}
	}
	return nil
}
