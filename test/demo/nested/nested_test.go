package nested

import (
	"testing"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func TestSameKeys(t *testing.T) {
	keys := func(x509 string, ids ...string) scene.Keys {
		k := scene.Keys{X509: []string{x509}, JWT: map[string]string{}}
		for _, id := range ids {
			k.JWT[id] = id
		}
		return k
	}
	for what, tt := range map[string]struct {
		keys []scene.Keys
		want bool
	}{
		"equal":                    {[]scene.Keys{keys("r", "1", "2"), keys("r", "1", "2")}, true},
		"another root":             {[]scene.Keys{keys("r", "1", "2"), keys("s", "1", "2")}, false},
		"a key that one lacks":     {[]scene.Keys{keys("r", "1", "2"), keys("r", "1", "3")}, false},
		"not a key of each server": {[]scene.Keys{keys("r", "1"), keys("r", "1")}, false},
	} {
		if got := same(tt.keys); got != tt.want {
			t.Errorf("%s: got %t", what, got)
		}
	}
}

func TestEntriesAreTheServersAlone(t *testing.T) {
	entry := func(s nestedServer, without string) scene.Entry {
		e := scene.Entry{SPIFFEID: trustDomain + s.id}
		for _, selector := range []string{"k8s:ns:" + s.namespace, "k8s:sa:spire-server", "k8s:container-name:spire-server"} {
			if selector != without {
				e.Selectors = append(e.Selectors, selector)
			}
		}
		return e
	}
	both := []scene.Entry{entry(serverA, ""), entry(serverB, "")}
	if err := checkEntries(both); err != nil {
		t.Error(err)
	}
	for what, entries := range map[string][]scene.Entry{
		"one alone":            both[:1],
		"a third":              append(both, scene.Entry{SPIFFEID: trustDomain + "/third"}),
		"any container":        {both[0], entry(serverB, "k8s:container-name:spire-server")},
		"any service account":  {entry(serverA, "k8s:sa:spire-server"), both[1]},
		"of another namespace": {entry(serverA, "k8s:ns:nested-a"), both[1]},
	} {
		if err := checkEntries(entries); err == nil {
			t.Errorf("%s: expected a mismatch", what)
		}
	}
}
