package tokens

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
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

func (a authority) token(ttl time.Duration) (*jwtsvid.SVID, error) {
	return a.tokenFor("spiffe://example.org/web", []string{"a"}, ttl)
}

func (a authority) tokenFor(id string, audience []string, ttl time.Duration) (*jwtsvid.SVID, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID}},
		nil)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	text, err := jwt.Signed(signer).Claims(map[string]any{
		"sub": id, "aud": audience, "iat": now.Unix(), "exp": now.Add(ttl).Unix(), "jti": rand.Text(),
	}).Serialize()
	if err != nil {
		return nil, err
	}
	return jwtsvid.ParseInsecure(text, audience)
}

// agent stands for the SPIRE agent: it gives what the test lets it give.
type agent struct {
	mu    sync.Mutex
	signs *authority
	ttl   time.Duration
	asked int
}

func (a *agent) fetch(context.Context) (*jwtsvid.SVID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.signs == nil {
		return nil, errors.New("the agent is away")
	}
	return a.signs.token(a.ttl)
}

func (a *agent) become(signs *authority, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signs, a.ttl = signs, ttl
}

func start(t *testing.T, a *agent) *source {
	t.Helper()
	known, err := newKeys(domain, silent)
	if err != nil {
		t.Fatal(err)
	}
	k := &source{file: filepath.Join(t.TempDir(), templates.TokenFile("a")), fetch: a.fetch, keys: known, log: silent}
	if err := k.start(time.Now()); err != nil {
		t.Fatal(err)
	}
	return k
}

// run keeps the token until the test ends.
func run(t *testing.T, k *source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- k.run(ctx) }()
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
func inFile(t *testing.T, k *source) string {
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
	synctest.Test(t, func(t *testing.T) {
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
	})
}

// TestTokenOfAWithdrawnKey is replaced at once.
func TestTokenOfAWithdrawnKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := newAuthority(t, "first"), newAuthority(t, "second")
		a := &agent{signs: &first, ttl: time.Hour}
		k := start(t, a)
		k.keys.set(first.bundle(t))
		run(t, k)
		eventually(t, time.Second, "the first token", func() bool { return inFile(t, k) != "" })
		was := inFile(t, k)
		a.become(&second, time.Hour)
		k.keys.set(first.bundle(t))
		synctest.Wait()
		if inFile(t, k) != was {
			t.Error("a key that stays made another token")
		}
		k.keys.set(second.bundle(t))
		eventually(t, time.Second, "another token", func() bool { return inFile(t, k) != was })
		if a.asked != 2 {
			t.Errorf("asked the agent %d times", a.asked)
		}
	})
}

// TestRestart: a token that an earlier run left behind is used while it lasts, and no longer.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newAuthority(t, "first")
		a := &agent{signs: &first, ttl: 3 * time.Second}
		k := start(t, a)
		stop := run(t, k)
		eventually(t, time.Second, "the first token", func() bool { return inFile(t, k) != "" })
		stop()
		was := inFile(t, k)
		a.become(nil, 0)
		again := &source{file: k.file, fetch: a.fetch, keys: k.keys, log: silent}
		if err := again.start(time.Now()); err != nil {
			t.Fatal(err)
		}
		if inFile(t, again) != was || !again.everHad.Load() {
			t.Error("a token that lasts was not taken up")
		}
		late := &source{file: k.file, fetch: a.fetch, keys: k.keys, log: silent}
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
	})
}

// When something is to be done next: a token is renewed at half of its time, ever more seldom where that fails, and
// taken away in time.
func TestDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		holding := func(expires time.Duration) token { return token{text: "t", issued: now, expiry: now.Add(expires)} }
		for name, test := range map[string]struct {
			current  token
			failures int
			want     time.Duration
		}{
			"none yet":                         {token{}, 0, 0},
			"none, and the agent is away":      {token{}, 1, agentapi.Retry},
			"ever more seldom":                 {token{}, 3, 4 * agentapi.Retry},
			"but not too seldom":               {token{}, 100, agentapi.LongestRetry},
			"half of its time":                 {holding(time.Hour), 0, 30 * time.Minute},
			"the agent is away for long":       {holding(time.Hour), 100, agentapi.LongestRetry},
			"it has to be taken away soon":     {holding(3 * time.Second), 100, 2 * time.Second},
			"it cannot last until another try": {holding(time.Second), 1, 0},
		} {
			s := &source{current: test.current}
			if got := s.due(test.failures).Sub(now); got != test.want {
				t.Errorf("%s: expected %s, got %s", name, test.want, got)
			}
		}
		for expires, want := range map[time.Duration]time.Duration{0: agentapi.FetchTimeout, time.Hour: agentapi.FetchTimeout, 3 * time.Second: 2 * time.Second, time.Second: time.Millisecond} {
			s := &source{}
			if expires > 0 {
				s.current = holding(expires)
			}
			if got := s.patience(); got != want {
				t.Errorf("with a token for %s: expected to wait for the agent for %s, got %s", expires, want, got)
			}
		}
	})
}

// The agent may have the same token in its cache, or one that has expired, and the current one stays.
func TestRenewalWithoutABetterOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newAuthority(t, "first")
		given, err := first.token(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, &agent{})
		s.fetch = func(context.Context) (*jwtsvid.SVID, error) { return given, nil }
		for i, want := range []bool{true, false} {
			if ok, err := s.renew(t.Context()); ok != want || err != nil {
				t.Errorf("renewal %d: got %t, %v", i, ok, err)
			}
		}
		was := inFile(t, s)
		if given, err = first.token(time.Second); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.renew(t.Context()); ok || err != nil || inFile(t, s) != was {
			t.Errorf("an expired token: got %t, %v", ok, err)
		}
		second := newAuthority(t, "second")
		s.keys.set(second.bundle(t))
		if given, err = first.token(time.Hour); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.renew(t.Context()); ok || err != nil || inFile(t, s) == was {
			t.Errorf("a token of a key that is gone is better than none, and no good one: got %t, %v", ok, err)
		}
	})
}

// What is written holds the token's end, a second early for requests in flight, and nobody but us may read it.
func TestFileOfAToken(t *testing.T) {
	t.Parallel()
	s := start(t, &agent{})
	end := time.Unix(2000000000, 0)
	if err := s.write(token{text: "x.y.z", expiry: end}); err != nil {
		t.Fatal(err)
	}
	want, err := templates.TokenSecret("x.y.z", end.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(s.file)
	if err != nil || string(got) != want {
		t.Errorf("expected %s, got %s, %v", want, got, err)
	}
	info, err := os.Stat(s.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(s.file + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left beside it: %v", err)
	}
	s.file = filepath.Join(t.TempDir(), "missing", "x.json")
	if err := s.write(token{}); err == nil {
		t.Error("expected an error of a directory that is missing")
	}
}
