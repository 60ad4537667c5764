package federated

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

const list = `Found 2 federation relationships

Trust domain              : web.org
Bundle endpoint URL       : https://web.org:8443
Bundle endpoint profile   : https_web

Trust domain              : auxiliary.org
Bundle endpoint URL       : https://spire-server.auxiliary:8443
Bundle endpoint profile   : https_spiffe
Endpoint SPIFFE ID        : spiffe://auxiliary.org/spire/server
`

func TestRelations(t *testing.T) {
	auxiliary := relation{"auxiliary.org", "https://spire-server.auxiliary:8443", "https_spiffe", "spiffe://auxiliary.org/spire/server"}
	want := []relation{auxiliary, {TrustDomain: "web.org", URL: "https://web.org:8443", Profile: "https_web"}}
	if diff := cmp.Diff(want, parseRelations(list)); diff != "" {
		t.Errorf("of the list -want +got:\n%s", diff)
	}
	if got := parseRelations("Found 0 federation relationships\n"); got != nil {
		t.Errorf("of an empty list: %+v", got)
	}
	s := scene.Scene{Root: "../../.."}
	for _, site := range sites() {
		file, err := s.Read(site.config)
		if err != nil {
			t.Fatal(err)
		}
		want := auxiliary
		if site.domain == other.domain {
			want = relation{"example.org", "https://spire-server.spire:8443", "https_spiffe", "spiffe://example.org/spire/server"}
		}
		if got, err := relationsOf(file); err != nil || !cmp.Equal([]relation{want}, got) {
			t.Errorf("%s: got %+v, %v", site.config, got, err)
		}
	}
	without, err := s.Read(alone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relationsOf(without); err == nil {
		t.Error("expected an error for a platform file without relationships")
	}
}
