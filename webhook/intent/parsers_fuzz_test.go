package intent

import (
	"net/http"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// An identity that is accepted is of the trust domain that it names, has a path, and is spelt in one way.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{"/api", "spiffe://example.org/api", "spiffe://other.org/x", "api", "team//api/", "/a/../b", "", "/", "spiffe://example.org", "/\x00", "/" + strings.Repeat("x", 2048)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseID(exampleOrg, s)
		if err != nil {
			if _, near, ok := strings.Cut(err.Error(), `did you mean "`); ok {
				if _, err := parseID(exampleOrg, strings.TrimSuffix(near, `"?`)); err != nil {
					t.Errorf("%q: %v", s, err)
				}
			}
			return
		}
		again, err := parseID(exampleOrg, id.String())
		if err != nil || again != id || id.Path() == "" || len(id.String()) > maxID {
			t.Errorf("%q became %s, and that %s (%v)", s, id, again, err)
		}
	})
}

// Whatever a tenant writes into labels, a template makes a SPIFFE ID of it or none, and a template that begins with a
// namespace's path never leaves it.
func FuzzIDTemplate(f *testing.F) {
	for _, s := range []string{"/ns/{namespace}/sa/{serviceAccount}", "/{label:app}", "/ns/{namespace}/{label:app}", "/{", "{namespace}", "/{label:}", "/a{}", "/ns/{namespace}/../x"} {
		f.Add(s, "api")
		f.Add(s, "../../other")
		f.Add(s, "{namespace}")
	}
	f.Fuzz(func(t *testing.T, text, label string) {
		parsed, err := ParseIDTemplate(text)
		if err != nil {
			return
		}
		id, err := defaultID(exampleOrg, []IDTemplate{parsed}, Subject{Namespace: "demo", ServiceAccount: "default", Labels: map[string]string{"app": label}})
		if err != nil {
			return
		}
		if again, err := spiffeid.FromString(id.String()); err != nil || again != id || !id.MemberOf(exampleOrg) {
			t.Errorf("%q with %q gives %s (%v)", text, label, id, err)
		}
		if strings.HasPrefix(text, "/ns/{namespace}/") && !strings.HasPrefix(id.Path(), "/ns/demo/") {
			t.Errorf("%q with %q gives %s", text, label, id)
		}
	})
}

func FuzzParseMode(f *testing.F) {
	for _, s := range []string{"sidecar", "socket,sidecar", "gateway", "gateway socket", "", ",", "sidecar sidecar"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		mode, err := ParseMode(s)
		if err != nil {
			return
		}
		if again, err := ParseMode(mode.String()); err != nil || again != mode || mode.Gateway && (mode.Sidecar || mode.Socket) || !mode.Envoy() && !mode.Socket {
			t.Errorf("%q became %+v, and that %+v (%v)", s, mode, again, err)
		}
	})
}

func FuzzParseTTL(f *testing.F) {
	for _, s := range []string{"10s", "1h", "720h", "9.999999999s", "1h0.5s", "-1h", "", "9223372036854775807ns", "1e3s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ttl, err := parseTTL(s)
		if err != nil {
			return
		}
		if again, err := parseTTL(ttl.String()); err != nil || again != ttl || ttl < minTTL || ttl > maxTTL {
			t.Errorf("%q became %s, and that %s (%v)", s, ttl, again, err)
		}
	})
}

// What Envoy is told to ask is what the kubelet would ask, and can be asked.
func FuzzRequestTarget(f *testing.F) {
	for _, s := range []string{"/", "", "health", "/healthz?full=1&x=%20y#there", "/a b?c d", "//host/x", "mailto:x", "/%zz", "/ü?ü", "?x", "/a%2Fb", "http://host:1/x?y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		target := requestTarget(path)
		if !strings.HasPrefix(target, "/") || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
			t.Fatalf("%q becomes %q, which no request can carry", path, target)
		}
		request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1"+target, nil)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", path, target, err)
		}
		if got := request.URL.RequestURI(); got != target {
			t.Errorf("%q becomes %q, which is asked as %q", path, target, got)
		}
	})
}
