package tokens

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/spire-injector/spire-injector/templates"
)

var (
	domain = spiffeid.RequireTrustDomainFromString("example.org")
	silent = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// authority signs tokens, as an agent's server does.
type authority struct {
	keyID string
	key   *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, keyID string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return authority{keyID, key}
}

func (a authority) bundle(t *testing.T) *jwtbundle.Set {
	t.Helper()
	out := jwtbundle.New(domain)
	if err := out.AddJWTAuthority(a.keyID, a.key.Public()); err != nil {
		t.Fatal(err)
	}
	return jwtbundle.NewSet(out)
}

func (a authority) token(life time.Duration) (*jwtsvid.SVID, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID}}, nil)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	text, err := jwt.Signed(signer).Claims(map[string]any{
		"sub": "spiffe://example.org/web", "aud": []string{"a"}, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
	}).Serialize()
	if err != nil {
		return nil, err
	}
	return jwtsvid.ParseInsecure(text, []string{"a"})
}

// agent stands for the SPIRE agent: it gives what the test lets it give.
type agent struct {
	mu    sync.Mutex
	signs *authority
	life  time.Duration
	asked int
}

func (a *agent) fetch(context.Context) (*jwtsvid.SVID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.signs == nil {
		return nil, errors.New("the agent is away")
	}
	return a.signs.token(a.life)
}

func (a *agent) become(signs *authority, life time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signs, a.life = signs, life
}

func start(t *testing.T, a *agent) *keeper {
	t.Helper()
	known, err := newKeys(domain, silent)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{file: filepath.Join(t.TempDir(), templates.TokenFile("a")), fetch: a.fetch, keys: known, log: silent}
	if err := k.start(time.Now()); err != nil {
		t.Fatal(err)
	}
	return k
}

// run keeps the token until the test ends.
func run(t *testing.T, k *keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- k.keep(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// inFile is the token in the file; empty is none.
func inFile(t *testing.T, k *keeper) string {
	t.Helper()
	content, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := templates.TokenOf(string(content))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// TestNoExpiredTokenStays looks at the file all the time, while the agent is there, goes away and comes back.
func TestNoExpiredTokenStays(t *testing.T) {
	t.Parallel()
	first := newAuthority(t, "first")
	a := &agent{}
	k := start(t, a)
	if got := inFile(t, k); got != "" {
		t.Fatalf("before the first token: got %q", got)
	}
	run(t, k)
	seen := map[string]bool{}
	look := func() string {
		text := inFile(t, k)
		if text == "" {
			return ""
		}
		svid, err := jwtsvid.ParseInsecure(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !time.Now().Before(svid.Expiry) {
			t.Fatalf("an expired token is in the file, %s late", time.Since(svid.Expiry))
		}
		seen[text] = true
		return text
	}
	a.become(&first, 4*time.Second)
	eventually(t, 3*time.Second, "the first token", func() bool { return look() != "" })
	eventually(t, 10*time.Second, "two renewals", func() bool { look(); return len(seen) == 3 })
	a.become(nil, 0)
	eventually(t, 5*time.Second, "the token that expires is taken away", func() bool { return look() == "" })
	a.become(&first, time.Minute)
	eventually(t, 7*time.Second, "a token when the agent is back", func() bool { return look() != "" })
}

// TestTokenOfAWithdrawnKey is replaced at once.
func TestTokenOfAWithdrawnKey(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	a := &agent{signs: &first, life: time.Hour}
	k := start(t, a)
	k.keys.set(first.bundle(t))
	run(t, k)
	eventually(t, time.Second, "the first token", func() bool { return inFile(t, k) != "" })
	was := inFile(t, k)
	a.become(&second, time.Hour)
	k.keys.set(first.bundle(t))
	time.Sleep(50 * time.Millisecond)
	if inFile(t, k) != was {
		t.Error("a key that stays made another token")
	}
	k.keys.set(second.bundle(t))
	eventually(t, time.Second, "another token", func() bool { return inFile(t, k) != was })
	if a.asked > 5 {
		t.Errorf("asked the agent %d times", a.asked)
	}
}

// TestRestart: a token that an earlier run left behind is used while it lasts, and no longer.
func TestRestart(t *testing.T) {
	t.Parallel()
	first := newAuthority(t, "first")
	a := &agent{signs: &first, life: 3 * time.Second}
	k := start(t, a)
	stop := run(t, k)
	eventually(t, time.Second, "the first token", func() bool { return inFile(t, k) != "" })
	stop()
	was := inFile(t, k)
	a.become(nil, 0)
	again := &keeper{file: k.file, fetch: a.fetch, keys: k.keys, log: silent}
	if err := again.start(time.Now()); err != nil {
		t.Fatal(err)
	}
	if inFile(t, again) != was || !again.everHad.Load() {
		t.Error("a token that lasts was not taken up")
	}
	late := &keeper{file: k.file, fetch: a.fetch, keys: k.keys, log: silent}
	if err := late.start(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if inFile(t, late) != "" || late.everHad.Load() {
		t.Error("an expired token was taken up")
	}
	if err := os.WriteFile(k.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := late.start(time.Now()); err != nil || inFile(t, late) != "" {
		t.Errorf("a broken file: %v, %q", err, inFile(t, late))
	}
}

func TestKeysByTrustDomain(t *testing.T) {
	t.Parallel()
	k, err := newKeys(domain, silent)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		answer := httptest.NewRecorder()
		k.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code, answer.Body.String()
	}
	if status, _ := get("/example.org"); status != http.StatusServiceUnavailable {
		t.Errorf("before the keys have come: got %d", status)
	}
	k.set(newAuthority(t, "first").bundle(t))
	if status, body := get("/example.org"); status != 200 || !strings.Contains(body, `"first"`) {
		t.Errorf("the own keys: got %d %q", status, body)
	}
	if status, body := get("/auxiliary.org"); status != 200 || !strings.Contains(body, `"nobody"`) || strings.Contains(body, `"d"`) {
		t.Errorf("keys of a trust domain without any: got %d %q", status, body)
	}
	for _, path := range []string{"/", "/Example.org", "//example.org", "/example.org/x"} {
		if status, body := get(path); status != http.StatusNotFound {
			t.Errorf("%s: got %d %q", path, status, body)
		}
	}
}
