package servingcert

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
)

// sharedBytes is how many bytes a shared key has.
const sharedBytes = sha256.Size

// share takes the key of a pair that was offered.
func (c *Certificate) share(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.keys) == 0:
		c.keys = [][]byte{bytes.Clone(key)}
	case !bytes.Equal(c.keys[0], key):
		c.keys = [][]byte{bytes.Clone(key), c.keys[0]}
	}
}

// Shared are keys for a purpose, which no other purpose gives, that replicas have in common because they read the
// certificate from one Secret: the newest first, and then the one before, which some may have still or had until now.
// They are derived from the certificate's own key, and so nobody has them who could not answer in the webhook's place
// anyway; no further Secret has to be made, and no right to make one. There are none before there is a certificate, and
// where it is an SVID, of which each node's agent has its own.
func (c *Certificate) Shared(purpose string) ([][]byte, error) {
	c.mu.Lock()
	keys := c.keys
	c.mu.Unlock()
	var derived [][]byte
	for _, key := range keys {
		d, err := hkdf.Key(sha256.New, key, nil, purpose, sharedBytes)
		if err != nil {
			return nil, err
		}
		derived = append(derived, d)
	}
	return derived, nil
}
