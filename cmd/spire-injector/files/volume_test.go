package files

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func itoa(n int) string { return strconv.Itoa(n) }

func contextOf(svid *x509svid.SVID, bundles *x509bundle.Set) *workloadapi.X509Context {
	return &workloadapi.X509Context{SVIDs: []*x509svid.SVID{svid}, Bundles: bundles}
}

// generation is files that all say the same number, and are long enough to be seen half-written.
func generation(n int) contents {
	text := []byte(strings.Repeat(itoa(n)+"\n", 2048))
	return contents{SVIDFile: text, KeyFile: text, BundleFile: text, "federated/auxiliary.org.pem": text}
}

// While files are replaced again and again, whoever follows the link once finds files of one kind, each whole, and
// whoever opens one by its name finds it, whole.
func TestReplaceAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, err := openVolume(dir)
	if err != nil {
		t.Fatal(err)
	}
	const enough = 50
	if err := v.replace(generation(1000)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	var reads [2]atomic.Int64
	whole := func(text []byte) string {
		first, _, _ := strings.Cut(string(text), "\n")
		if string(text) != strings.Repeat(first+"\n", 2048) {
			t.Errorf("a file of %d bytes that begins with %q is not whole", len(text), first)
		}
		return first
	}
	readers.Go(func() {
		for ; !isDone(done); reads[0].Add(1) {
			name, err := os.Readlink(filepath.Join(dir, dataLink))
			if err != nil {
				t.Error(err)
				return
			}
			data := filepath.Join(dir, name)
			said := map[string]bool{}
			for file := range generation(0) {
				text, err := os.ReadFile(filepath.Join(data, file))
				if os.IsNotExist(err) {
					said = nil // two were written meanwhile: this reader was slow
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				said[whole(text)] = true
			}
			if len(said) > 1 {
				t.Errorf("certificate, key and bundles are of several kinds: %v", said)
				return
			}
		}
	})
	readers.Go(func() {
		for ; !isDone(done); reads[1].Add(1) {
			for file := range generation(0) {
				text, err := os.ReadFile(filepath.Join(dir, file))
				if os.IsNotExist(err) {
					continue // as above
				}
				if err != nil {
					t.Error(err)
					return
				}
				whole(text)
			}
		}
	})
	n := 1000
	for end := time.Now().Add(time.Minute); min(int64(n-1000), reads[0].Load(), reads[1].Load()) < enough; {
		n++
		if err := v.replace(generation(n)); err != nil || t.Failed() || time.Now().After(end) {
			t.Errorf("after %d changes, %d and %d reads: %v", n-1000, reads[0].Load(), reads[1].Load(), err)
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(done)
	readers.Wait()
	if got := string(read(t, dir, SVIDFile)); !strings.HasPrefix(got, itoa(n)+"\n") {
		t.Errorf("expected the last one, got %.20q", got)
	}
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// The files before stay until the next change, and none of those before them. Nobody but their owner reads any.
func TestVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *volume {
		t.Helper()
		v, err := openVolume(dir)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	kept := func() int {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, dataPrefix+"*", SVIDFile))
		if err != nil {
			t.Fatal(err)
		}
		return len(all) - 1 // the link is one of them
	}
	v := open()
	for n := range 3 {
		data, _ := filepath.EvalSymlinks(filepath.Join(dir, dataLink))
		if err := v.replace(generation(n)); err != nil {
			t.Fatal(err)
		}
		if data != "" && !strings.HasPrefix(string(read(t, data, KeyFile)), itoa(n-1)+"\n") {
			t.Errorf("generation %d: the one before is gone", n)
		}
		if want := min(n+1, 2); kept() != want {
			t.Errorf("generation %d: expected %d directories, got %d", n, want, kept())
		}
	}
	if err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o400 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	// One that cannot be written leaves everything as it was.
	if err := v.replace(contents{SVIDFile: []byte("x"), SVIDFile + "/below": nil}); err == nil {
		t.Error("expected an error")
	}
	if !v.current.equal(generation(2)) || !strings.HasPrefix(string(read(t, dir, SVIDFile)), "2\n") || kept() != 2 {
		t.Errorf("after an error: %d directories, %.10q", kept(), read(t, dir, SVIDFile))
	}

	// Another run takes up what is there, and removes what is of no use.
	if err := os.Mkdir(filepath.Join(dir, "..half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if v = open(); !v.current.equal(generation(2)) || kept() != 1 {
		t.Errorf("another run: %d directories", kept())
	}
	if _, err := os.Stat(filepath.Join(dir, "..half")); !os.IsNotExist(err) {
		t.Errorf("what was not finished: %v", err)
	}
	if err := v.replace(generation(3)); err != nil || kept() != 2 {
		t.Errorf("another run: %v, %d directories", err, kept())
	}
}
