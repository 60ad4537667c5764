package parts

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository is a project of two packages and a program in git.
type repository struct{ root string }

func newRepository(t *testing.T) repository {
	t.Helper()
	r := repository{t.TempDir()}
	r.git(t, "init", "--quiet", "--initial-branch=main")
	r.write(t, "go.mod", "module example.org/project\n\ngo 1.26\n")
	r.write(t, "go.sum", "")
	r.write(t, "cmd/program/main.go", "package main\n\nimport \"example.org/project/library\"\n\nfunc main() { print(library.Version) }\n")
	r.write(t, "library/library.go", "package library\n\nconst Version = 1\n")
	r.write(t, "other/other.go", "package other\n")
	return r
}

func (r repository) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.root, "-c", "user.name=test", "-c", "user.email=test@example.org"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repository) write(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(r.root, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// commit commits everything, and returns the commit.
func (r repository) commit(t *testing.T, message string) string {
	t.Helper()
	r.git(t, "add", "--all")
	r.git(t, "commit", "--quiet", "--message", message)
	return r.git(t, "rev-parse", "HEAD")
}

func (r repository) wantPrevious(t *testing.T, want, why string) {
	t.Helper()
	got, err := previousCommit(t.Context(), r.root, "./cmd/program")
	if err != nil || got != want {
		t.Errorf("%s: got %s (%v), want %s", why, got, err, want)
	}
}

func TestPreviousIsAnotherVersionOfTheProgram(t *testing.T) {
	r := newRepository(t)
	first := r.commit(t, "first")
	r.write(t, "library/library.go", "package library\n\nconst Version = 2\n")
	second := r.commit(t, "second")
	r.wantPrevious(t, first, "the last commit changed a package of the program")

	r.write(t, "other/other.go", "package other\n\nconst Other = 1\n")
	r.write(t, "library/library_test.go", "package library\n")
	r.write(t, "cmd/program/testdata/a", "")
	r.write(t, "README.md", "")
	third := r.commit(t, "nothing of the program")
	r.wantPrevious(t, first, "the last commit changed nothing of the program")

	r.write(t, "library/library.go", "package library\n\nconst Version = 3\n")
	r.wantPrevious(t, third, "the working tree is not committed")
	r.git(t, "checkout", "--quiet", "library")
	r.write(t, "library/further.go", "package library\n")
	r.wantPrevious(t, third, "the working tree has a file more")

	r.git(t, "checkout", "--quiet", "-b", "branch", second)
	r.write(t, "go.sum", "\n")
	r.commit(t, "on a branch")
	r.write(t, "cmd/program/main.go", "package main\n\nfunc main() {}\n")
	r.commit(t, "more on the branch")
	r.git(t, "checkout", "--quiet", "main")
	r.git(t, "merge", "--quiet", "--no-edit", "branch")
	r.wantPrevious(t, third, "a branch was merged")
}

func TestPreviousIsUnpackedAndBuilt(t *testing.T) {
	r := newRepository(t)
	first := r.commit(t, "first")
	r.write(t, "library/library.go", "package library\n\nconst Version = 2\n")
	r.commit(t, "second")
	cache := Cache{Dir: t.TempDir()}
	old := filepath.Join(cache.Dir, sourcesPrefix+"old")
	long := time.Now().Add(-2 * keepOwn)
	if err := errors.Join(os.Mkdir(old, 0o755), os.Chtimes(old, long, long)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be there
		s, err := previous(t.Context(), cache, r.root, "./cmd/program", io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if s.Commit != first {
			t.Errorf("got %s, want %s", s.Commit, first)
		}
		program, err := BuildPrevious(t.Context(), cache, s, "./cmd/program", io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program).CombinedOutput(); err != nil || string(out) != "1" {
			t.Errorf("expected that the first version runs, got %q (%v)", out, err)
		}
	}
	if exists(old) {
		t.Error("sources of long ago are kept")
	}
}

func TestPreviousNeedsHistory(t *testing.T) {
	r := newRepository(t)
	r.commit(t, "first")
	r.write(t, "library/library.go", "package library\n\nconst Version = 2\n")
	r.commit(t, "second")
	shallow := repository{filepath.Join(t.TempDir(), "clone")}
	r.git(t, "clone", "--quiet", "--depth=1", "file://"+r.root, shallow.root)
	_, err := previousCommit(t.Context(), shallow.root, "./cmd/program")
	if err == nil || !strings.Contains(err.Error(), "the history ends there: fetch more of it") {
		t.Errorf("a shallow clone: got error %v", err)
	}
	if err := os.RemoveAll(filepath.Join(r.root, ".git")); err != nil {
		t.Fatal(err)
	}
	_, err = previousCommit(t.Context(), r.root, "./cmd/program")
	if err == nil || !strings.Contains(err.Error(), "expected the project's sources with their history") {
		t.Errorf("no git: got error %v", err)
	}
}
