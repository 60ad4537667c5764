package templates

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// packing is how hard it is tried to find what configurations have in common: harder makes them no smaller.
const packing = 3

// packer packs configurations by what they have in common with the first one. That is nearly all: of 15 KB some 600 bytes
// are left. Not safe for concurrent use, but for unpack.
type packer struct {
	like    []byte
	out     bytes.Buffer
	w       *flate.Writer
	readers sync.Pool // of 40 KB each
}

func newPacker(first Config) (*packer, error) {
	p := &packer{like: first.joined()}
	var err error
	if p.w, err = flate.NewWriterDict(&p.out, packing, p.like); err != nil {
		return nil, fmt.Errorf("packing configurations: %w", err)
	}
	return p, nil
}

func (p *packer) pack(c Config) ([]byte, error) {
	p.out.Reset()
	p.w.Reset(&p.out) // which keeps what configurations are like
	joined := c.joined()
	_, err := p.w.Write(joined)
	if err := errors.Join(err, p.w.Close()); err != nil {
		return nil, fmt.Errorf("packing a configuration: %w", err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(joined))), p.out.Bytes()...), nil
}

// unpack is safe for concurrent use.
func (p *packer) unpack(packed []byte) (Config, error) {
	size, n := binary.Uvarint(packed)
	if n <= 0 {
		return Config{}, errors.New("unpacking a configuration: expected its size in front")
	}
	r, ok := p.readers.Get().(io.Reader)
	if !ok {
		r = flate.NewReaderDict(nil, nil)
	}
	defer p.readers.Put(r)
	var err error
	if again, ok := r.(flate.Resetter); ok { // as all of them are
		err = again.Reset(bytes.NewReader(packed[n:]), p.like)
	}
	joined := make([]byte, size)
	if err == nil {
		_, err = io.ReadFull(r, joined)
	}
	if err != nil {
		return Config{}, fmt.Errorf("unpacking a configuration: %w", err)
	}
	return separated(joined)
}

// joined are all files one after the other, each with its size in front.
func (c Config) joined() []byte {
	var out []byte
	for _, content := range c.contents() {
		out = append(binary.AppendUvarint(out, uint64(len(*content))), *content...)
	}
	return out
}

func separated(joined []byte) (Config, error) {
	var c Config
	for _, content := range c.contents() {
		size, n := binary.Uvarint(joined)
		if n <= 0 || size > uint64(len(joined)-n) { //nolint:gosec // a size of a varint is no more than all
			return Config{}, errors.New("unpacking a configuration: expected another file")
		}
		*content, joined = string(joined[n:n+int(size)]), joined[n+int(size):] //nolint:gosec // it is no more than there is
	}
	return c, nil
}

// contents are the files, in their order.
func (c *Config) contents() []*string {
	all := []*string{&c.Bootstrap, &c.Listeners, &c.Clusters, &c.Authorization, &c.Certificate}
	for n := range c.CAs {
		all = append(all, &c.CAs[n])
	}
	return all
}
