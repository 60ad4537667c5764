package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// failures are codes that say that SPIRE did not do what it was asked, whatever it was.
func failures() []string {
	return []string{
		"DeadlineExceeded", "Internal", "PermissionDenied", "ResourceExhausted",
		"Unauthenticated", "Unavailable", "Unimplemented", "Unknown",
	}
}

// manyFailures is the share of calls from which on they are more than what a restart of SPIRE costs.
const manyFailures = 0.1

func spireCalls(f Facts) []Finding {
	var out []Finding
	var all float64
	codes := map[string]float64{}
	for _, r := range f.answering() {
		byCode := r.Metrics.by("spire_injector_spire_requests_total", "code")
		var calls, failed float64
		for code, n := range byCode {
			calls += n
			if slices.Contains(failures(), code) {
				failed += n
				codes[code] += n
			}
		}
		all += calls
		finding := found(Warning, f.pod(r), "of %s to SPIRE since it started %v failed: %s",
			plural(calls, "call"), failed, counts(byCode, failures()))
		switch {
		case byCode["PermissionDenied"]+byCode["Unauthenticated"] > 0:
			out = append(out, finding.expected("none to be denied").remedy("%s", deniedRemedy(r.Metrics)))
		case failed > 0 && failed == calls:
			finding.Status = Error
			out = append(out, finding.expected("calls that succeed").
				remedy("the replica's log has the cause: look at the server, the address in the platform file, network policies, "+
					"and the agent on its node"))
		case failed > manyFailures*calls:
			out = append(out, finding.expected("almost none to fail").
				remedy("the replica's log has the causes; if they are of before, restart it to count anew"))
		}
	}
	if len(f.answering()) == 0 {
		return nil
	}
	if all == 0 {
		return []Finding{found(Warning, "", "no replica has called SPIRE yet").expected("calls by the leader").
			remedy("wait until it has an SVID and its caches are filled; then see its log")}
	}
	return orFine(out, fine("", "%s, failed%s", plural(all, "call"), orNone(counts(codes, failures()))))
}

// deniedRemedy distinguishes what SPIRE denies to whoever is no admin from what its authorization policy denies,
// which SPIRE itself does not say.
func deniedRemedy(m Metrics) string {
	denied, answered := map[string]float64{}, false
	for _, s := range m["spire_injector_spire_requests_total"] {
		switch s.Labels["code"] {
		case "PermissionDenied", "Unauthenticated":
			denied[s.Labels["method"]] += s.Value
		case "OK":
			answered = answered || s.Value > 0
		}
	}
	lookDenied := false
	for method, n := range denied {
		lookDenied = lookDenied || n > 0 && (strings.HasPrefix(method, "List") || strings.HasPrefix(method, "Get"))
	}
	admin := "list the injector's SPIFFE ID under admin_ids in the server's configuration, " +
		"or set the admin flag on its entry"
	policy := "the authorization policy has to allow it, that of spire-injector's manifests by policy-data.json " +
		"beside the server's configuration; " +
		"the replica's log names the paths"
	switch methods := counts(denied, slices.Sorted(maps.Keys(denied))); {
	case answered && !lookDenied:
		return fmt.Sprintf("SPIRE takes the injector for an admin, and its authorization policy denies calls (%s): %s",
			methods, policy)
	case !answered && lookDenied:
		return fmt.Sprintf("SPIRE does not take the injector for an admin (%s): %s", methods, admin)
	default:
		return fmt.Sprintf("SPIRE does not say of which of two it is (%s). If the injector is no admin, %s. If it is one, %s",
			methods, admin, policy)
	}
}

func orNone(text string) string {
	if text == "" {
		return " none"
	}
	return ": " + text
}

// counts writes numbers that are not 0, in the order of names.
func counts(numbers map[string]float64, names []string) string {
	var out []string
	for _, name := range names {
		if n := numbers[name]; n > 0 {
			out = append(out, fmt.Sprintf("%s %v", name, n))
		}
	}
	return strings.Join(out, ", ")
}

// entries are counted by the leader.
func entries(f Facts) []Finding {
	leader, ok := f.leading()
	if !ok {
		return nil
	}
	state := leader.Metrics.by("spire_injector_entries", "state")
	if len(state) == 0 {
		return []Finding{found(Warning, f.pod(leader), "the leader has not compared entries yet").
			expected("a first comparison soon after it leads").
			remedy("wait and check again; then see its log")}
	}
	var out []Finding
	report := func(status Status, name, what, remedy string) {
		if n := state[name]; n > 0 {
			out = append(out, found(status, f.pod(leader), "registration entries %s: %v", what, n).
				expected("none").remedy("%s", remedy))
		}
	}
	report(Error, "refused", "that SPIRE does not take, or that entries of others stand in the way of",
		"the leader's log and events on the owners say why")
	report(Warning, "missing", "that pods need and SPIRE does not have yet",
		"check again in some seconds; then the leader's log says why. Their pods wait")
	if !f.saysWhichBundle(leader) {
		report(
			Warning,
			"without_bundle",
			"without a federated trust domain, whose bundle SPIRE does not have",
			"the events "+reason.BundleMissing.String()+" on the owners name it: list it in spire.federation of the platform file, or correct "+
				"the name",
		)
	}
	out = append(out, rows(f, leader)...)
	if n := deletedByOthers(leader.Metrics); n > 0 {
		out = append(out, found(Warning, f.pod(leader), "something else deleted registration entries: %v were created again",
			n).
			expected("nobody else to delete them").
			remedy("find out who does: the check spire-controller-manager, and people who use spire-server entry delete"))
	}
	return orFine(out, fine(f.pod(leader), "%v wanted, %v in SPIRE, %v to be removed",
		state["wanted"], state["registered"], state["orphaned"]))
}

// rows are what authorizes the agents of nodes for the identities of their pods.
func rows(f Facts, leader Replica) []Finding {
	state := leader.Metrics.by("spire_injector_rows", "state")
	var out []Finding
	if n := state["missing"]; n > 0 {
		out = append(out, found(Warning, f.pod(leader),
			"nodes whose agents are not authorized yet for an identity of their pods: %v", n).
			expected("none").
			remedy("check again in some seconds; then the leader's log says why. Pods there wait, or lose their identity when "+
				"their certificate ends"))
	}
	if n := state["refused"]; n > 0 {
		out = append(out, found(Error, f.pod(leader),
			"entries by which nodes' agents are authorized, and that SPIRE does not take: %v", n).
			expected("none").
			remedy("see the leader's log; SPIRE's policy.rego has to be the one of this version"))
	}
	return out
}

func deletedByOthers(m Metrics) (n float64) {
	deleted := []string{reason.EntryDeletedByOthers.String(), reason.RowDeletedByOthers.String()}
	for _, s := range m["spire_injector_entry_changes_total"] {
		if slices.Contains(deleted, s.Labels["reason"]) && s.Labels["action"] == "create" && s.Labels["result"] == "success" {
			n += s.Value
		}
	}
	return n
}

// reconciler is late when it misses its interval, and dead when it misses several.
func reconciler(f Facts) []Finding {
	leader, ok := f.leading()
	if !ok {
		return nil
	}
	last, ok := leader.Metrics.one("spire_injector_reconcile_last_success_timestamp_seconds")
	late := func(status Status, format string, args ...any) []Finding {
		return []Finding{found(status, f.pod(leader), format, args...).expected("one every %s", f.Settings.Resync).
			remedy("the leader's log says what fails: SPIRE's calls, or its rights in Kubernetes. Registration entries do not " +
				"follow the pods")}
	}
	if !ok || last == 0 {
		return late(Warning, "no comparison of all entries has succeeded yet")
	}
	age := f.At.Sub(time.Unix(int64(last), 0))
	switch limit := 2*f.Settings.Resync + time.Minute; {
	case age > 6*f.Settings.Resync+time.Minute:
		return late(Error, "all entries were last compared %s ago", duration.HumanDuration(age))
	case age > limit:
		return late(Warning, "all entries were last compared %s ago", duration.HumanDuration(age))
	}
	return []Finding{fine(f.pod(leader), "all entries were compared %s ago", duration.HumanDuration(max(age, 0)))}
}

// quarantined is what the quarantine of the platform file has to do with running pods.
func quarantined(f Facts, leader Replica) []Finding {
	pods := leader.Metrics.by("spire_injector_quarantine_pods", "state")
	var out []Finding
	for _, check := range []struct {
		state, what, remedy string
		level               Status
	}{
		{"waiting", "the quarantine is not in force yet in %s", "wait a moment and check again; the leader's log says what is in " +
			"the way", Error},
		{"needs_new_pod", "the quarantine cannot be carried to %s", "kubectl get events -A --field-selector reason=" +
			reason.QuarantineNotInForce.String() + ": delete these pods", Error},
		{"holding", "a quarantined identity is held by %s, which the other pods refuse", "kubectl get events -A " +
			"--field-selector reason=" + reason.QuarantineHeld.String() + ": delete these pods, or take the identity off the " +
			"list quarantine of the platform file", Warning},
	} {
		if n := pods[check.state]; n > 0 {
			out = append(out, found(check.level, f.pod(leader), check.what, plural(n, "pod")).expected("none").
				remedy("%s", check.remedy))
		}
	}
	return out
}

// rollout is how far running pods are in following what changed.
func rollout(f Facts) []Finding {
	leader, ok := f.leading()
	if !ok {
		return nil
	}
	pods := leader.Metrics.by("spire_injector_rollout_pods", "state")
	paused, _ := leader.Metrics.one("spire_injector_rollout_paused")
	waiting := plural(pods["outdated"], "outdated pod")
	var out []Finding
	if n := pods["rejected"]; n > 0 {
		out = append(out, found(Error, f.pod(leader), "Envoy rejects its new configuration in %s", plural(n, "pod")).
			expected("none").
			remedy("kubectl get events -A --field-selector reason=%s; take back what was changed, in the "+
				"namespace or the platform file", reason.ConfigurationRejected))
	}
	switch {
	case f.Settings.RolloutRate == 0:
		out = append(out, found(Warning, f.pod(leader), "the rollout is paused by --rollout-rate=0: %s would follow",
			waiting).
			expected("running pods that follow what changes").
			remedy("kubectl -n %s edit deployment %s: take the flag out when the change is right",
				f.Names.Namespace, Deployment))
	case paused > 0:
		out = append(out, found(Error, f.pod(leader), "the rollout is paused, because pods rejected what was tried on them "+
			"first: %s would follow", waiting).
			expected("running pods that follow what changes").
			remedy("the leader's log and the events %s say which; change the namespace or the platform file again",
				reason.ConfigurationRejected))
	}
	var stuck []string
	for _, state := range slices.Sorted(maps.Keys(pods)) {
		if n := pods[state]; n > 0 && state != "rejected" && state != "outdated" {
			stuck = append(stuck, fmt.Sprintf("%s %v", state, n))
		}
	}
	if len(stuck) > 0 {
		out = append(out, found(Warning, f.pod(leader), "pods that cannot follow: %s", strings.Join(stuck, ", ")).
			expected("none").
			remedy("replace those that need a new pod, with kubectl rollout restart; of invalid ones the namespace or the "+
				"platform file has a mistake"))
	}
	out = append(out, quarantined(f, leader)...)
	return orFine(out, fine(f.pod(leader), "running pods follow at %v a second: %s", f.Settings.RolloutRate, waiting))
}
