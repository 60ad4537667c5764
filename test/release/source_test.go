package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository is one of git's with a commit of a known time.
func repository(t *testing.T) (root string, run func(args ...string)) {
	t.Helper()
	root = t.TempDir()
	run = func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "git", append([]string{"-c", "user.name=n", "-c", "user.email=e@example.org"}, args...)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z", "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run("init", "--quiet")
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("add", "file")
	run("commit", "--quiet", "--message", "first")
	return root, run
}

func TestVersionComesFromGit(t *testing.T) {
	t.Parallel()
	root, run := repository(t)
	want := func(version string) source {
		t.Helper()
		s, err := describe(t.Context(), root, "")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.version, version) {
			t.Errorf("got version %s, want %s…", s.version, version)
		}
		if !s.time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || len(s.commit) != 40 {
			t.Errorf("got commit %s of %s", s.commit, s.time)
		}
		return s
	}
	if s := want("v0.0.0-g"); s.version != "v0.0.0-g"+s.commit[:12] {
		t.Errorf("a commit without a tag: got %s", s.version)
	}
	run("tag", "other")
	run("tag", "v1.2.3")
	if s := want("v1.2.3"); s.version != "v1.2.3" {
		t.Errorf("a commit with a tag: got %s", s.version)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := want("v1.2.3"); s.version != "v1.2.3-dirty" {
		t.Errorf("changed files: got %s", s.version)
	}
	run("commit", "--quiet", "--all", "--message", "second")
	if s := want("v1.2.3-1-g"); s.version != "v1.2.3-1-g"+s.commit[:12] {
		t.Errorf("a commit after a tag: got %s", s.version)
	}
}

func TestGivenVersion(t *testing.T) {
	t.Parallel()
	root, _ := repository(t)
	s, err := describe(t.Context(), root, "v2.0.0-rc.1")
	if err != nil || s.version != "v2.0.0-rc.1" || s.commit == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	bare := t.TempDir()
	s, err = describe(t.Context(), bare, "v2.0.0")
	if err != nil || s.version != "v2.0.0" || s.commit != "" || s.time.Unix() != 0 {
		t.Errorf("without git: got %+v, %v", s, err)
	}
	if _, err := describe(t.Context(), bare, ""); err == nil || !strings.Contains(err.Error(), "or --version VERSION") {
		t.Errorf("without git and version: got error %v", err)
	}
	for _, bad := range []string{"1.2.3", "v1.2", "latest", "v1.2.3+build"} {
		if _, err := describe(t.Context(), bare, bad); err == nil || !strings.Contains(err.Error(), "expected one such as v1.2.3") {
			t.Errorf("%s: got error %v", bad, err)
		}
	}
}
