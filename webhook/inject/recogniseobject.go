package inject

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// recognitionOfObject is [recognitionOf] of a pod in JSON, without decoding it: objects with one recognition decode to
// pods with one. It looks at the very bytes of what [likeItsReplicas] leaves, so that it may miss that two pods are
// alike, as when one says null where the other says nothing. It is false for what it does not understand.
func recognitionOfObject(ns intent.Namespace, object []byte) (recognition, bool) {
	if len(object) > maxRecognised {
		return recognition{}, false
	}
	space, ok := recognitionOfNamespace(ns)
	if !ok {
		return recognition{}, false
	}
	r := objectReader{
		// A field that comes twice is hashed twice, and decoding denies it.
		decoder: jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true)),
		hash:    sha256.New(),
	}
	r.write(space[:])
	r.object(func(key string) {
		switch key {
		case `"apiVersion"`, `"kind"`:
			r.keep(key)
		case `"metadata"`:
			r.object(func(key string) {
				switch key {
				case `"labels"`, `"annotations"`:
					r.keep(key)
				default:
					r.skip()
				}
			})
		case `"spec"`:
			r.spec()
		default:
			r.skip()
		}
	})
	if r.failed || len(bytes.TrimSpace(object[r.decoder.InputOffset():])) > 0 {
		return recognition{}, false
	}
	return recognition(r.hash.Sum(nil)), true
}

// objectReader reads a pod in JSON once, and hashes what it keeps of it.
type objectReader struct {
	decoder *jsontext.Decoder
	hash    hash.Hash
	failed  bool
	token   string // the name, in quotes, of the volume that the API server names at random
}

// write hashes one text after another so that no two lists of texts are alike.
func (r *objectReader) write(text []byte) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(text)))
	_, _ = r.hash.Write(size[:]) // a hash takes everything
	_, _ = r.hash.Write(text)
}

func (r *objectReader) value() []byte {
	value, err := r.decoder.ReadValue()
	r.failed = r.failed || err != nil
	return value
}

// name is a value that is written as it is, without escapes.
func (r *objectReader) name() []byte {
	name := r.value()
	r.failed = r.failed || bytes.IndexByte(name, '\\') >= 0
	return name
}

func (r *objectReader) skip() {
	r.failed = r.failed || r.decoder.SkipValue() != nil
}

// keep hashes a key and its value.
func (r *objectReader) keep(key string) {
	r.write([]byte(key))
	r.write(r.value())
}

// begins says whether an object or a list begins, of which it reads the beginning.
func (r *objectReader) begins(kind jsontext.Kind) bool {
	if r.failed || r.decoder.PeekKind() != kind {
		r.failed = true // null as well, which is not what the API server writes
		return false
	}
	_, err := r.decoder.ReadToken()
	r.failed = err != nil
	return !r.failed
}

func (r *objectReader) ends(kind jsontext.Kind) bool {
	if !r.failed && r.decoder.PeekKind() == kind {
		_, err := r.decoder.ReadToken()
		r.failed = err != nil
		return true
	}
	return r.failed
}

// object reads an object, of which field reads each value. Keys are given in quotes.
func (r *objectReader) object(field func(key string)) {
	if !r.begins('{') {
		return
	}
	for !r.ends('}') {
		if key := string(r.name()); !r.failed {
			field(key)
		}
	}
}

// list reads a list of objects, and hashes that each of them begins and ends.
func (r *objectReader) list(key string, item func(key string)) {
	r.write([]byte(key))
	if !r.begins('[') {
		return
	}
	for !r.ends(']') {
		r.write([]byte{'{'})
		r.object(item)
		r.write([]byte{'}'})
	}
	r.write([]byte{']'})
}

// spec hashes all of it but for the name of the volume with the service account's token, and where it is mounted.
func (r *objectReader) spec() {
	r.write([]byte(`"spec"`))
	containers := false
	r.object(func(key string) {
		switch key {
		case `"volumes"`:
			r.failed = r.failed || containers // whose mounts were read before the volume was known
			r.list(key, r.volume)
		case `"initContainers"`, `"containers"`:
			containers = true
			r.list(key, func(key string) {
				if key == `"volumeMounts"` {
					r.list(key, r.mount)
				} else {
					r.keep(key)
				}
			})
		default:
			r.keep(key)
		}
	})
	r.write([]byte{'}'})
}

func (r *objectReader) volume(key string) {
	if key != `"name"` {
		r.keep(key)
		return
	}
	name := r.name()
	if isTokenVolume(strings.Trim(string(name), `"`)) {
		r.failed = r.failed || r.token != "" // two must stay different
		r.token, name = string(name), []byte(anyTokenVolume)
	}
	r.write([]byte(key))
	r.write(name)
}

func (r *objectReader) mount(key string) {
	if key != `"name"` {
		r.keep(key)
		return
	}
	name := r.name()
	if r.token != "" && string(name) == r.token {
		name = []byte(anyTokenVolume)
	}
	r.write([]byte(key))
	r.write(name)
}
