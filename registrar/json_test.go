package registrar_test

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestEncodeEntries(t *testing.T) {
	c := demoCluster(t)
	entries := c.Entries([]registrar.Workload{
		workload("/web", 0), workload("/api", time.Hour), workload("/api", 30*time.Second), workload("/api", 0),
	})
	full := c.WorkloadEntry(workload("/full", time.Minute))
	full.ID = "every-field"
	full.JWTSVIDTTL = 2 * time.Minute
	full.FederatesWith = []spiffeid.TrustDomain{spiffeid.RequireTrustDomainFromString("auxiliary.org")}
	full.DNSNames = []string{"b.example.org", "a.example.org", "b.example.org"}
	full.Hint = "internal <&>"
	full.Downstream, full.Admin, full.StoreSVID = true, true, true
	full.ExpiresAt = time.Unix(2_000_000_000, 0)

	var got bytes.Buffer
	if err := registrar.EncodeEntries(&got, append(entries, full)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/entries.json"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("JSON (-want +got), -update accepts it:\n%s", diff)
	}
}

func TestEncodeNoEntries(t *testing.T) {
	var got bytes.Buffer
	if err := registrar.EncodeEntries(&got, nil); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"entries\": []\n}\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}
