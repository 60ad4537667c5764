package envoy

import (
	"crypto/ecdsa"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates"
)

// jwtFolder stands for [templates.JWTDir] below a proxy's directory.
const jwtFolder = "jwt"

// authority signs JWT-SVIDs of a trust domain.
type authority struct {
	domain spiffeid.TrustDomain
	keyID  string
	key    *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, domain spiffeid.TrustDomain, keyID string) authority {
	t.Helper()
	return authority{domain, keyID, newKey(t)}
}

// token is signed whatever it says; a claim that is nil is left out.
func (a authority) token(t *testing.T, subject, audience string, expiry any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID}}, nil)
	must(t, err)
	claims := map[string]any{"sub": subject, "aud": []string{audience}, "iat": time.Now().Unix()}
	if at, ok := expiry.(time.Time); ok {
		claims["exp"] = at.Unix()
	}
	out, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return out
}

// keys stand for the program beside Envoy that has them.
type keys struct {
	mu    sync.Mutex
	known map[string]*jwtbundle.Bundle // by path
}

// serve answers in a proxy's directory until the returned function is called.
func (k *keys) serve(t *testing.T, dir string) (stop func()) {
	t.Helper()
	socket := filepath.Join(dir, jwtFolder, filepath.Base(templates.JWKSSocket))
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		bundle, ok := k.known[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		text, err := bundle.Marshal()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return func() { server.Close() }
}

// set replaces the keys of the trust domains of some authorities.
func (k *keys) set(t *testing.T, authorities ...authority) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = map[string]*jwtbundle.Bundle{}
	for _, a := range authorities {
		path := templates.JWKSPath(a.domain)
		if k.known[path] == nil {
			k.known[path] = jwtbundle.New(a.domain)
		}
		must(t, k.known[path].AddJWTAuthority(a.keyID, a.key.Public()))
	}
}

// writeToken replaces the file of an audience's token, as the program beside Envoy does.
func writeToken(t *testing.T, dir, audience, token string, until time.Time) {
	t.Helper()
	text, err := templates.TokenSecret(token, until)
	must(t, err)
	path := filepath.Join(dir, jwtFolder, templates.TokenFile(audience))
	must(t, os.WriteFile(path+".new", []byte(text), 0o600))
	must(t, os.Rename(path+".new", path))
}
