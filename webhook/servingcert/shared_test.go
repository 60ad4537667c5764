package servingcert

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// Replicas have keys in common by the Secret that they read, also where one of them has not seen the newest yet.
func TestSharedKeys(t *testing.T) {
	t.Parallel()
	now := time.Now()
	issuer := newCA(t, now.Add(time.Hour))
	shared := func(c *Certificate, purpose string) [][]byte {
		t.Helper()
		keys, err := c.Shared(purpose)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	var one, other Certificate
	if keys := shared(&one, "x"); len(keys) != 0 {
		t.Errorf("expected no keys before there is a certificate, got %d", len(keys))
	}
	var last []byte
	for n := range 3 {
		certificate, key := issuer.leaf(t)
		for range 2 { // the informer says it again and again
			if err := one.Offer(certificate, key, now); err != nil {
				t.Fatal(err)
			}
		}
		keys := shared(&one, "x")
		if want := min(n+1, 2); len(keys) != want || len(keys[0]) != sharedBytes || bytes.Contains(key, keys[0]) {
			t.Fatalf("certificate %d: expected %d derived keys, got %d", n, want, len(keys))
		}
		if n > 0 && !bytes.Equal(keys[1], last) {
			t.Errorf("certificate %d: the key before is not there", n)
		}
		last = keys[0]
		if err := other.Offer(certificate, key, now); err != nil {
			t.Fatal(err)
		}
		if got := shared(&other, "x"); !slices.EqualFunc(got, keys, bytes.Equal) {
			t.Errorf("certificate %d: two replicas have other keys", n)
		}
		if bytes.Equal(shared(&one, "y")[0], keys[0]) {
			t.Error("two purposes have one key")
		}
	}
	if err := one.Offer([]byte("no certificate"), []byte("key"), now); err == nil {
		t.Fatal("expected an error")
	}
	if got := shared(&one, "x"); !bytes.Equal(got[0], last) {
		t.Error("a pair that is not complete has changed the key")
	}
}
