package images

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeLayer writes entries, which are complete and sorted, as a tar stream. Nothing of this machine goes into it but
// the files' content: owner root, and one fixed time.
func writeLayer(w io.Writer, entries []Entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		if err := writeEntry(t, e); err != nil {
			return fmt.Errorf("add %s: %w", e.Path, err)
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, e Entry) error {
	h := &tar.Header{Name: strings.TrimPrefix(e.Path, "/"), Mode: tarMode(e.mode()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case e.Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		return t.WriteHeader(h)
	case e.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.Link, 0o777
		return t.WriteHeader(h)
	case e.Text != "":
		h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Text))
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.WriteString(t, e.Text)
		return err
	}
	f, err := os.Open(e.Source)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if e.Capabilities != "" {
		h.PAXRecords = map[string]string{paxCapabilities: e.Capabilities}
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// paxCapabilities is the record by which container runtimes give a file its capabilities.
const paxCapabilities = "SCHILY.xattr.security.capability"

// tarMode is m as tar writes it: the sticky bit is elsewhere than in Go.
func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// plainLayer is an uncompressed layer that lies in a file. Archives are read on the same machine, where compression
// costs more than it saves; whoever pushes compresses.
type plainLayer struct {
	path string
	hash v1.Hash
	size int64
}

func newPlainLayer(path string, entries []Entry) (plainLayer, error) {
	f, err := os.Create(path)
	if err != nil {
		return plainLayer{}, err
	}
	sum := sha256.New()
	if err := writeLayer(io.MultiWriter(f, sum), entries); err != nil {
		_ = f.Close()
		return plainLayer{}, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return plainLayer{}, err
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return plainLayer{path: path, hash: hash, size: info.Size()}, f.Close()
}

func (l plainLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l plainLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l plainLayer) Size() (int64, error)                 { return l.size, nil }
func (l plainLayer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }
func (l plainLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l plainLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
