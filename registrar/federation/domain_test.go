package federation

import (
	"errors"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func wanted(name string, refresh time.Duration) registrar.Federated {
	return registrar.Federated{Refresh: refresh, Relationship: registrar.Relationship{
		TrustDomain: spiffeid.RequireTrustDomainFromString(name), BundleEndpointURL: "https://" + name, Profile: registrar.HTTPSWeb,
	}}
}

// names are those of domains, in order.
func names(domains []*domain) string {
	all := ""
	for _, d := range domains {
		all += d.TrustDomain.Name() + " "
	}
	return all
}

func TestAdopt(t *testing.T) {
	all := domains{}
	gone := all.adopt([]registrar.Federated{wanted("b.org", time.Hour), wanted("a.org", time.Minute)}, begin, begin)
	if len(gone) != 0 {
		t.Errorf("gone %s, want none", names(gone))
	}
	due := all.begin(begin)
	if got := names(due); got != "a.org b.org " {
		t.Fatalf("due %s, want both", got)
	}
	if got := all.begin(begin); len(got) != 0 {
		t.Errorf("due %s, want none while they are being fetched", names(got))
	}
	for _, d := range due {
		d.end(begin, nil, 0.5)
	}
	if got := all.next(begin.Add(2 * time.Hour)); got != begin.Add(time.Minute) {
		t.Errorf("next %s, want after the shorter interval", got)
	}
	if got := all.next(begin); got != begin {
		t.Errorf("next %s, want what is earlier", got)
	}

	moved, again := wanted("a.org", time.Minute), wanted("b.org", time.Hour)
	moved.BundleEndpointURL = "https://elsewhere.org"
	again.BundleEndpointURL = "HTTPS://b.org" // the same
	later := begin.Add(time.Second)
	if gone := all.adopt([]registrar.Federated{moved, again}, later, later); len(gone) != 0 {
		t.Errorf("gone %s, want none", names(gone))
	}
	if got := names(all.begin(later)); got != "a.org " {
		t.Errorf("due %s, want only what has another relationship", got)
	}

	gone = all.adopt([]registrar.Federated{wanted("b.org", 10*time.Second)}, later, later)
	if got := names(gone); got != "a.org " {
		t.Errorf("gone %s, want a.org", got)
	}
	if got := all.next(begin.Add(time.Hour)); got != begin.Add(11*time.Second) {
		t.Errorf("next %s, want after the interval that has become shorter", got)
	}
}

func TestHurry(t *testing.T) {
	all := domains{}
	all.adopt([]registrar.Federated{wanted("a.org", time.Hour), wanted("b.org", time.Hour), wanted("c.org", time.Hour)}, begin, begin)
	due := all.begin(begin)
	due[0].end(begin, errors.New("no answer"), 0)
	due[1].end(begin, nil, 0)
	later := begin.Add(time.Millisecond)
	all.hurryFailing(later)
	if got := names(all.begin(later)); got != "a.org " {
		t.Errorf("due %s, want only what failed", got)
	}
	due[0].end(later, nil, 0)

	all.hurry(later.Add(1))
	if got := all.begin(later); len(got) != 0 {
		t.Errorf("due %s, want none before its time", names(got))
	}
	later = later.Add(1)
	all.postpone(later.Add(1))
	if got := all.begin(later); len(got) != 0 {
		t.Errorf("due %s, want all postponed", names(got))
	}
	later = later.Add(1)
	all.postpone(later.Add(-1))
	if got := names(all.begin(later)); got != "a.org b.org " {
		t.Errorf("due %s, want what is not being fetched", got)
	}
	due[2].end(later, errors.New("no answer"), 0)
	if got := names(all.begin(later)); got != "c.org " {
		t.Errorf("due %s, want the fetch that began too early once more", got)
	}
	due[2].end(later, errors.New("no answer"), 0)
	if got := all.begin(later); len(got) != 0 {
		t.Errorf("due %s, want none", names(got))
	}
	for range 10 {
		due[2].end(later, errors.New("no answer"), 0)
	}
	due[2].hurry(later)
	due[2].end(later, errors.New("no answer"), 0.5)
	if again := due[2].due.Sub(later); again > 2*time.Second {
		t.Errorf("tried again after %v, want it soon: the failures before do not count", again)
	}
}
