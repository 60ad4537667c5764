package files

import (
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// rotations is constant traffic until the app's certificates have changed four times, and for longer than the first of
// them was valid.
type rotations struct {
	t       *testing.T
	begin   time.Time
	clients sync.WaitGroup

	mu     sync.Mutex
	seen   map[string]map[string]bool // by how the app presents it: serial numbers
	counts []string
}

const wantedRotations = 4

// startRotations begins, for an app that presents its certificate in these ways: as a server, as a client.
func startRotations(t *testing.T, ways ...string) *rotations {
	r := &rotations{t: t, begin: time.Now(), seen: map[string]map[string]bool{}}
	for _, way := range ways {
		r.seen[way] = map[string]bool{}
	}
	return r
}

// saw notes the app's certificate.
func (r *rotations) saw(way string, certificate *x509.Certificate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[way][certificate.SerialNumber.String()] = true
}

func (r *rotations) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, serials := range r.seen {
		if len(serials) <= wantedRotations {
			return r.t.Failed()
		}
	}
	return r.t.Failed() || time.Since(r.begin) > svidTTL
}

// constantly does something over and over, which must not fail.
func (r *rotations) constantly(what string, once func() error) {
	r.clients.Go(func() {
		n := 0
		for end := r.begin.Add(2 * time.Minute); !r.ended(); n++ {
			if err := once(); err != nil {
				r.t.Errorf("%s, after %s and %d times: %v", what, time.Since(r.begin).Round(time.Millisecond), n, err)
			} else if time.Now().After(end) {
				r.t.Errorf("expected %d certificates within two minutes", wantedRotations+1)
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.counts = append(r.counts, fmt.Sprintf("%d × %s", n, what))
	})
}

// wait returns when everything has ended.
func (r *rotations) wait() {
	r.t.Helper()
	r.clients.Wait()
	for way, serials := range r.seen {
		r.counts = append(r.counts, fmt.Sprintf("%d certificates as a %s", len(serials), way))
	}
	r.t.Logf("%s in %.0f s", strings.Join(r.counts, ", "), time.Since(r.begin).Seconds())
}
