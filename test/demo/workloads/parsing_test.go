package workloads

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSummary(t *testing.T) {
	got := parseSummary(`- SPIFFE ID = spiffe://example.org/a
- TrustDomain = example.org
- Cert[0] Subject = O=SPIRE,C=US
- Cert[0] Issuer = O=SPIFFE,C=US
- Cert[1] Subject = O=SPIFFE,C=US
- Cert[1] Issuer = O=SPIFFE,C=US
`)
	want := Summary{ID: "spiffe://example.org/a", TrustDomain: "example.org", Subjects: []string{"O=SPIRE,C=US", "O=SPIFFE,C=US"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEventsOf(t *testing.T) {
	since := time.Date(2026, 11, 25, 14, 0, 0, 0, time.UTC)
	got := eventsOf(`{"time":"2026-11-25T13:59:59.999Z","msg":"refused","reason":"old"}
not an event
{"time":"2026-11-25T14:00:00.000Z","level":"INFO","msg":"refused","peer":"spiffe://example.org/a","reason":"r"}
{"time":"2026-11-25T14:00:01.000Z","msg":"called","peer":"spiffe://example.org/a"}
`, "refused", since)
	want := []Event{{Time: since, Message: "refused", Peer: "spiffe://example.org/a", Reason: "r"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
