package files

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names in the directory, which are those of the kubelet's own volumes: programs that watch for changes know them.
const (
	dataLink   = "..data" // leads to the directory of the files as they are now
	nextLink   = "..data_next"
	dataPrefix = ".." // of those directories
)

// contents are files by their path, which has one slash at most.
type contents map[string][]byte

// equal says whether the same files hold the same.
func (c contents) equal(other contents) bool { return maps.EqualFunc(c, other, bytes.Equal) }

// volume is a directory whose files change all at once. Each lies in a directory of its own kind, which is never written
// to again, and a link leads to the one that counts. The one before stays until the next change: who has followed the
// link, or has opened one file, finds the others that belong to it.
type volume struct {
	dir     string
	current contents
	data    string // name of the directory that the link leads to, empty at first
}

// openVolume takes up what an earlier run left behind.
func openVolume(dir string) (*volume, error) {
	v := &volume{dir: dir, current: contents{}}
	data, err := os.Readlink(filepath.Join(dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) {
		return v, v.removeAllBut()
	}
	if err != nil {
		return nil, err
	}
	v.data = data
	if v.current, err = readContents(filepath.Join(dir, data)); err != nil {
		return nil, err
	}
	return v, v.removeAllBut(data)
}

func readContents(dir string) (contents, error) {
	found := contents{}
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		found[path], err = fs.ReadFile(tree, path)
		return err
	})
	return found, err
}

// replace puts other files in the place of all that are there. Nobody but their owner can read them. If it fails, those
// that were there stay.
func (v *volume) replace(next contents) error {
	data, err := os.MkdirTemp(v.dir, dataPrefix) // of mode 0700
	if err != nil {
		return fmt.Errorf("making a directory for files: %w", err)
	}
	name := filepath.Base(data)
	for _, step := range []func() error{
		func() error { return writeContents(data, next) },
		func() error { return v.link(next) },
		func() error { return v.lead(name) },
	} {
		if err := step(); err != nil {
			return errors.Join(fmt.Errorf("writing files: %w", err), os.RemoveAll(data))
		}
	}
	before := v.data
	v.data, v.current = name, next
	return v.removeAllBut(name, before)
}

func writeContents(dir string, files contents) error {
	for _, path := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, files[path], 0o400); err != nil {
			return err
		}
	}
	return nil
}

// link makes the files, and directories of files, seen at the top, where they are not yet.
func (v *volume) link(files contents) error {
	for path := range files {
		top, _, _ := strings.Cut(path, "/")
		err := os.Symlink(filepath.Join(dataLink, top), filepath.Join(v.dir, top))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// lead has the link lead elsewhere, at once for whoever follows it.
func (v *volume) lead(name string) error {
	next := filepath.Join(v.dir, nextLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(name, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(v.dir, dataLink))
}

// removeAllBut removes directories of files that nobody needs any more.
func (v *volume) removeAllBut(names ...string) error {
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), dataPrefix) && !slices.Contains(names, e.Name()) {
			if err := os.RemoveAll(filepath.Join(v.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
