package answers

import (
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
)

// What Envoys were asked is in the list: how long an SVID is valid, and whether what is given is in force.
func TestListByEnvoys(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	told := m.Told["m4/api-5d8f9c-0"]
	told.Updates = templates.Updates{"listeners.yaml": {Refused: 1, Last: m.At.Add(-time.Hour)}, "clusters.yaml": {Last: m.At}}
	m.Told["m4/api-5d8f9c-0"] = told
	m.Told["m6/api-5d8f9c-0"] = Told{}
	m.Told["m8/api-5d8f9c-0"] = Told{SVID: &SVID{Until: m.At.Add(-time.Second)}}
	var out strings.Builder
	if err := m.List("").WriteText(&out); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, part := range []string{
		"LETS IN SIDECAR CONFIG SVID STATE", ", rejected by 1 of 1 30m injected", "m6 Deployment api", "unknown injected", "expired injected",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("expected %q, got\n%s", part, out.String())
		}
	}
	if n := len(m.OfEachWorkload("m4")); n != 2 {
		t.Errorf("expected the two workloads of m4, got %d", n)
	}
}
