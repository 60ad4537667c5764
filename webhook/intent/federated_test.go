package intent

import (
	"slices"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func TestFederatesWith(t *testing.T) {
	p := platform(t)
	p.FederatesWith = []spiffeid.TrustDomain{spiffeid.RequireTrustDomainFromString("default.org")}
	for text, want := range map[string][]string{
		"":                       {"default.org"},
		"auxiliary.org, far.org": {"auxiliary.org", "far.org"},
		"auxiliary.org Far.org":  {"auxiliary.org"}, // the other one is a mistake, which admission tells
	} {
		ns := Namespace{Name: "shop", Annotations: map[string]string{"other.io/note": "1"}}
		if text != "" {
			ns.Annotations[AnnotationFederatesWith] = text
		}
		var got []string
		for _, td := range FederatesWith(p, ns) {
			got = append(got, td.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: expected %v, got %v", text, want, got)
		}
	}
}
