package registrar_test

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
)

// A selector that is accepted is spelt in one way.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"k8s:ns:demo", "k8s_psat:cluster:demo-cluster", "a:", ":b", "a", "", "a:b:c:d", "k8s: ns", "k8s:\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		selector, err := registrar.ParseSelector(s)
		if err != nil {
			return
		}
		if again, err := registrar.ParseSelector(selector.String()); err != nil || again != selector {
			t.Errorf("%q became %q, and that %q (%v)", s, selector, again, err)
		}
	})
}

// Whatever the identity, its hash is the value of a label and of a selector.
func FuzzIdentityHash(f *testing.F) {
	f.Add("/api")
	f.Add("/ns/demo/sa/default")
	td := spiffeid.RequireTrustDomainFromString("example.org")
	f.Fuzz(func(t *testing.T, path string) {
		id, err := spiffeid.FromPath(td, path)
		if err != nil {
			return
		}
		hash := registrar.IdentityHash(id)
		if errs := validation.IsValidLabelValue(hash); len(errs) > 0 || hash == "" {
			t.Errorf("%s: %q: %v", id, hash, errs)
		}
	})
}
