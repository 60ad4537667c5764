package tokens

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates"
)

// keys are the JWT bundles of all trust domains that the pod may know. It answers GET [templates.JWKSPath] of each.
type keys struct {
	own spiffeid.TrustDomain
	// nobodys is a key whose private half is gone. Envoy goes on with the keys that it had when it is given none: this one
	// takes the place of none.
	nobodys *ecdsa.PublicKey
	log     *slog.Logger

	mu      sync.Mutex
	bundles *jwtbundle.Set // nil until the first have come
	changed chan struct{}  // closed when they have changed
}

func newKeys(own spiffeid.TrustDomain, log *slog.Logger) (*keys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &keys{own: own, nobodys: &key.PublicKey, log: log, changed: make(chan struct{})}, nil
}

func (k *keys) set(bundles *jwtbundle.Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bundles = bundles
	close(k.changed)
	k.changed = make(chan struct{})
	domains := map[string]int{}
	for _, bundle := range bundles.Bundles() {
		domains[bundle.TrustDomain().Name()] = len(bundle.JWTAuthorities())
	}
	k.log.Info("keys have come", "domains", domains)
}

// has says whether those of the own trust domain are there.
func (k *keys) has() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bundles != nil && k.bundles.Has(k.own)
}

// change is closed at the next change.
func (k *keys) change() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed
}

// withdrawn says whether the own trust domain has keys, and this is none of them any more.
func (k *keys) withdrawn(keyID string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bundles == nil {
		return false
	}
	bundle, ok := k.bundles.Get(k.own)
	return ok && !bundle.Empty() && !bundle.HasJWTAuthority(keyID)
}

// ServeHTTP implements [http.Handler].
func (k *keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	bundles := k.bundles
	k.mu.Unlock()
	td, err := spiffeid.TrustDomainFromString(r.URL.Path[min(1, len(r.URL.Path)):])
	if err != nil || templates.JWKSPath(td) != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	if bundles == nil {
		http.Error(w, "keys have not come yet", http.StatusServiceUnavailable)
		return
	}
	bundle, ok := bundles.Get(td)
	if !ok || bundle.Empty() {
		bundle = jwtbundle.New(td)
		if err := bundle.AddJWTAuthority("nobody", k.nobodys); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	text, err := bundle.Marshal()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // or Envoy has gone, and asks again
}
