package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	utilversion "k8s.io/apimachinery/pkg/util/version"
)

// source is what a release is made of.
type source struct {
	version string
	commit  string    // empty where git knows nothing of the sources
	time    time.Time // of the commit; the beginning of Unix time without one
}

// describe asks git about the sources below root. A version that is given is taken as it is, and then git may know
// nothing.
func describe(ctx context.Context, root, given string) (source, error) {
	s := source{version: given, time: time.Unix(0, 0)}
	commit, err := git(ctx, root, "log", "-1", "--format=%H %ct")
	if err != nil && given == "" {
		return source{}, fmt.Errorf("expected sources with their history, as git has them, or --version VERSION: %w", err)
	}
	if hash, seconds, ok := strings.Cut(commit, " "); ok {
		at, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return source{}, fmt.Errorf("time of commit %s: %w", hash, err)
		}
		s.commit, s.time = hash, time.Unix(at, 0)
	}
	if given == "" {
		described, err := git(ctx, root, "describe", "--tags", "--match", "v[0-9]*", "--always", "--abbrev=12", "--dirty")
		if err != nil {
			return source{}, err
		}
		s.version = versionOf(described)
	}
	return s, checkVersion(s.version)
}

// versionOf is the version that `git describe --always` stands for: a commit without a tag before it has number 0.
func versionOf(described string) string {
	if strings.HasPrefix(described, "v") {
		return described
	}
	return "v0.0.0-g" + described
}

// checkVersion refuses what Helm or a registry would not take as a version, or as a tag.
func checkVersion(v string) error {
	_, err := utilversion.ParseSemantic(v)
	if err == nil && (!strings.HasPrefix(v, "v") || strings.Contains(v, "+")) {
		err = errors.New("a v comes first, and a tag has no +")
	}
	if err != nil {
		return fmt.Errorf("version %q: expected one such as v1.2.3 or v1.2.3-rc.1: %w", v, err)
	}
	return nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
