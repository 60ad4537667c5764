package tokens

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

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
	if status, body := get("/auxiliary.org"); status != 200 || !strings.Contains(body, `"nobody"`) ||
		strings.Contains(body, `"d"`) {
		t.Errorf("keys of a trust domain without any: got %d %q", status, body)
	}
	empty := jwtbundle.New(spiffeid.RequireTrustDomainFromString("empty.org"))
	own, err := newAuthority(t, "first").bundle(t).GetJWTBundleForTrustDomain(domain)
	if err != nil {
		t.Fatal(err)
	}
	k.set(jwtbundle.NewSet(own, empty))
	if status, body := get("/empty.org"); status != 200 || !strings.Contains(body, `"nobody"`) ||
		strings.Contains(body, `"d"`) {
		t.Errorf("keys of a trust domain whose bundle is empty: got %d %q", status, body)
	}
	for _, path := range []string{"/", "/Example.org", "//example.org", "/example.org/x"} {
		if status, body := get(path); status != http.StatusNotFound {
			t.Errorf("%s: got %d %q", path, status, body)
		}
	}
}

// A key is withdrawn when the own trust domain has others: not before any have come, and not when it has none.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	k, err := newKeys(domain, silent)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, has, withdrawn bool) {
		t.Helper()
		if got := k.has(); got != has {
			t.Errorf("%s: has keys: %t", when, got)
		}
		if got := k.withdrawn("first"); got != withdrawn {
			t.Errorf("%s: the first key is withdrawn: %t", when, got)
		}
	}
	want("before any", false, false)
	k.set(jwtbundle.NewSet(jwtbundle.New(spiffeid.RequireTrustDomainFromString("auxiliary.org"))))
	want("those of others", false, false)
	k.set(jwtbundle.NewSet(jwtbundle.New(domain)))
	want("none", true, false)
	k.set(newAuthority(t, "first").bundle(t))
	want("its own", true, false)
	k.set(newAuthority(t, "second").bundle(t))
	want("another", true, true)
}

// Who waits for a change is woken by each.
func TestChangeOfKeys(t *testing.T) {
	t.Parallel()
	k, err := newKeys(domain, silent)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		changed := k.change()
		select {
		case <-changed:
			t.Error("nothing has changed")
		default:
		}
		k.set(jwtbundle.NewSet())
		<-changed
	}
}
