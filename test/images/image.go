// Package images makes the container images of the test cluster and the demos out of plain files, without a container
// engine: one layer each, the same bytes for the same files.
package images

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// Image is what goes into one image. Paths inside the image are absolute.
type Image struct {
	Name       string // as in manifests: "spiffe/spire-server:1.15.3"
	Entries    []Entry
	Entrypoint []string
	User       string // "uid:gid"; empty for root, or whatever the pod says
}

// Entry is a file, a folder or a symbolic link: exactly one of Source, Text, Link and Dir is set.
type Entry struct {
	Path   string
	Source string // file on this machine
	Text   string // content of a file
	Link   string // what a symbolic link points to
	Dir    bool
	Mode   fs.FileMode // permissions and sticky bit of a folder or file; zero is 0755
	// Capabilities of a program's file, as its extended attribute security.capability.
	Capabilities string
}

// searchPath is PATH inside the images.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nonRoot is the user of images whose program needs no privilege. It is numeric, so that runAsNonRoot can be checked.
const nonRoot = "65532:65532"

func (e Entry) mode() fs.FileMode {
	if e.Mode == 0 {
		return 0o755
	}
	return e.Mode
}

// complete returns i's entries with the folders that they need, sorted so that folders come before their content.
func (i Image) complete() ([]Entry, error) {
	byPath := map[string]Entry{}
	for _, e := range i.Entries {
		if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path {
			return nil, fmt.Errorf("image %s: path %q must be absolute and clean", i.Name, e.Path)
		}
		if _, twice := byPath[e.Path]; twice {
			return nil, fmt.Errorf("image %s: %s is there twice", i.Name, e.Path)
		}
		byPath[e.Path] = e
	}
	for _, e := range i.Entries {
		for dir := path.Dir(e.Path); dir != "/"; dir = path.Dir(dir) {
			if have, ok := byPath[dir]; ok && !have.Dir {
				return nil, fmt.Errorf("image %s: %s lies below %s, which is no folder", i.Name, e.Path, dir)
			}
			if _, ok := byPath[dir]; !ok {
				byPath[dir] = Entry{Path: dir, Dir: true}
			}
		}
	}
	out := make([]Entry, 0, len(byPath))
	for _, e := range byPath {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// layoutVersion changes when the same Image is written differently, so that no old archive is taken for it.
const layoutVersion = "1"

// key stands for the image's content. Files of the cache never change under one name; for others the time tells.
func (i Image) key() (string, error) {
	inputs := []string{layoutVersion, i.Name, i.User, strings.Join(i.Entrypoint, "\x00")}
	entries, err := i.complete()
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		inputs = append(inputs, e.Path, e.Source, e.Text, e.Link, fmt.Sprint(e.Dir), e.mode().String())
		if e.Capabilities != "" {
			inputs = append(inputs, e.Capabilities)
		}
		if e.Source == "" {
			continue
		}
		info, err := os.Stat(e.Source)
		if err != nil {
			return "", fmt.Errorf("image %s: %w", i.Name, err)
		}
		inputs = append(inputs, fmt.Sprint(info.Size(), info.ModTime().UnixNano()))
	}
	return parts.Key(inputs...), nil
}
