package entries

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

func step(action registrar.Action, why reason.Reason, owners ...registrar.Owner) registrar.Step {
	e := registrar.Entry{ID: "spire-injector.demo-cluster.x", SPIFFEID: spiffeid.RequireFromString("spiffe://example.org/api")}
	return registrar.Step{Plan: registrar.Plan{Action: action, Entry: e}, ID: e.ID, Why: why, Owners: owners}
}

var (
	aPod        = registrar.Owner{Kind: "Pod", Namespace: "demo", Name: "api-0"}
	aDeployment = registrar.Owner{Kind: "Deployment", Namespace: "demo", Name: "api"}
)

// Owners are told of what somebody has to mend, and of what they waited for.
func TestEventsOnOwners(t *testing.T) {
	denied := &registrar.Error{Kind: registrar.Denied, Message: "ask the SPIRE team"}
	for name, tc := range map[string]struct {
		outcome registrar.Outcome
		kind    string
		note    string
	}{
		"refused":                       {registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing, aPod), Err: denied}, corev1.EventTypeWarning, "ask the SPIRE team"},
		"deleted by others":             {registrar.Outcome{Step: step(registrar.Create, reason.EntryDeletedByOthers, aDeployment)}, corev1.EventTypeWarning, "entryIDPrefix"},
		"missed at admission":           {registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing, aPod)}, corev1.EventTypeNormal, "registered spiffe://example.org/api"},
		"before the first pod":          {registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing, aDeployment)}, "", ""},
		"with a pod and its Deployment": {registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing, aDeployment, aPod)}, "", ""},
		"of nobody's":                   {registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing)}, "", ""},
		"row":                           {registrar.Outcome{Step: step(registrar.Create, reason.RowMissing, aPod)}, "", ""},
		"row deleted by others":         {registrar.Outcome{Step: step(registrar.Create, reason.RowDeletedByOthers, aPod)}, corev1.EventTypeWarning, "certificate would have ended"},
		"row changed by others":         {registrar.Outcome{Step: step(registrar.Remove, reason.RowDrifted, aPod)}, corev1.EventTypeWarning, "is made again"},
		"row refused":                   {registrar.Outcome{Step: step(registrar.Create, reason.RowMissing, aPod), Err: denied}, corev1.EventTypeWarning, "ask the SPIRE team"},
		"repaired":                      {registrar.Outcome{Step: step(registrar.Update, reason.EntryDrifted, aPod)}, "", ""},
	} {
		kind, note := eventOf(tc.outcome)
		if kind != tc.kind || !strings.Contains(note, tc.note) || (note == "") != (tc.note == "") {
			t.Errorf("%s: event %s %q, want %s with %q", name, kind, note, tc.kind, tc.note)
		}
	}
}

func TestPlanForPeople(t *testing.T) {
	expiring := step(registrar.Update, reason.EntryOrphaned)
	expiring.Fields, expiring.Entry.ExpiresAt = registrar.FieldExpiresAt, time.Date(2030, 1, 1, 12, 30, 0, 0, time.UTC)
	narrowed := step(registrar.Keep, reason.BundleMissing, aDeployment, aPod)
	narrowed.Missing = []spiffeid.TrustDomain{spiffeid.RequireTrustDomainFromString("auxiliary.org")}
	var out strings.Builder
	if err := WritePlan(&out, []registrar.Step{step(registrar.Create, reason.EntryMissing, aPod), expiring, narrowed}); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
ACTION  ENTRY                          SPIFFE ID                 REASON         DETAILS                       OWNERS
create  spire-injector.demo-cluster.x  spiffe://example.org/api  EntryMissing                                 pod/demo/api-0
update  spire-injector.demo-cluster.x  spiffe://example.org/api  EntryOrphaned  expires_at; expires 12:30:00  
keep    spire-injector.demo-cluster.x  spiffe://example.org/api  BundleMissing  without [auxiliary.org]       deployment/demo/api, pod/demo/api-0
`, "\n")
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestMetricsOfALook(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newCollectors(registry, func() int { return 7 })
	if err != nil {
		t.Fatal(err)
	}
	m.now = func() time.Time { return time.Unix(1000, 0) }
	counts := registrar.Counts{
		States:        registrar.States{Wanted: 1, Registered: 2, Missing: 3, Orphaned: 4, Refused: 5},
		Rows:          registrar.States{Wanted: 10, Registered: 20, Missing: 30, Orphaned: 40, Refused: 50},
		WithoutBundle: 6,
		PendingPods:   8,
	}
	m.outcome(registrar.Outcome{Step: step(registrar.Keep, "")}) // no change
	m.outcome(registrar.Outcome{Step: step(registrar.Update, reason.EntryDrifted)})
	m.outcome(registrar.Outcome{Step: step(registrar.Create, reason.EntryMissing), Err: &registrar.Error{}})
	m.pass(registrar.Pass{Full: true, Counts: counts})
	m.now = func() time.Time { return time.Unix(2000, 0) }
	m.pass(registrar.Pass{Full: true, Err: &registrar.Error{}, Counts: counts})
	m.pass(registrar.Pass{Counts: counts})
	m.pass(registrar.Pass{Err: &registrar.Error{}, Counts: counts})
	const want = `
# HELP spire_injector_entry_changes_total Changes of registration entries by the reconciler, by action (create, update, refuse, remove), its reason and result (success, failure).
# TYPE spire_injector_entry_changes_total counter
spire_injector_entry_changes_total{action="create",reason="EntryDeletedByOthers",result="success"} 0
spire_injector_entry_changes_total{action="create",reason="EntryMissing",result="failure"} 1
spire_injector_entry_changes_total{action="create",reason="RowDeletedByOthers",result="success"} 0
spire_injector_entry_changes_total{action="update",reason="EntryDrifted",result="success"} 1
# HELP spire_injector_entries Registration entries by state: wanted (something needs it), registered (ours, in SPIRE), missing (wanted and not in SPIRE), orphaned (to be removed after the grace period), refused (SPIRE or an entry of others stands in the way), without_bundle (lacks a federated trust domain whose bundle SPIRE does not have).
# TYPE spire_injector_entries gauge
spire_injector_entries{state="missing"} 3
spire_injector_entries{state="orphaned"} 4
spire_injector_entries{state="refused"} 5
spire_injector_entries{state="registered"} 2
spire_injector_entries{state="wanted"} 1
spire_injector_entries{state="without_bundle"} 6
# HELP spire_injector_pending_pods Pods that wait because their registration entry, or the row of their node, is not in SPIRE.
# TYPE spire_injector_pending_pods gauge
spire_injector_pending_pods 8
# HELP spire_injector_reconcile_last_success_timestamp_seconds When everything was last compared without an error.
# TYPE spire_injector_reconcile_last_success_timestamp_seconds gauge
spire_injector_reconcile_last_success_timestamp_seconds 1000
# HELP spire_injector_reconcile_queue_length Entries that wait to be compared.
# TYPE spire_injector_reconcile_queue_length gauge
spire_injector_reconcile_queue_length 7
# HELP spire_injector_reconciles_total Comparisons of what is wanted with what SPIRE holds, by kind (full, changes) and result (success, failure).
# TYPE spire_injector_reconciles_total counter
spire_injector_reconciles_total{kind="changes",result="failure"} 1
spire_injector_reconciles_total{kind="changes",result="success"} 1
spire_injector_reconciles_total{kind="full",result="failure"} 1
spire_injector_reconciles_total{kind="full",result="success"} 1
# HELP spire_injector_rows Rows, by which the agents of nodes are authorized for the identities of their pods, by state: wanted (pods are there), registered (ours, in SPIRE), missing (wanted and not in SPIRE), orphaned (to be removed after the grace period), refused (SPIRE or an entry of others stands in the way).
# TYPE spire_injector_rows gauge
spire_injector_rows{state="missing"} 30
spire_injector_rows{state="orphaned"} 40
spire_injector_rows{state="refused"} 50
spire_injector_rows{state="registered"} 20
spire_injector_rows{state="wanted"} 10
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "spire_injector_entry_changes_total", "spire_injector_pending_pods", "spire_injector_entries", "spire_injector_rows",
		"spire_injector_reconcile_last_success_timestamp_seconds", "spire_injector_reconcile_queue_length", "spire_injector_reconciles_total"); err != nil {
		t.Error(err)
	}
}
