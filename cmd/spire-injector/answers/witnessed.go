package answers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The checks of what running Envoys say, by their names.
const (
	checkEntry   = "entry"
	checkSVID    = "SVID"
	checkConfig  = "configuration"
	checkApp     = "app"
	checkRefused = "refused"
	checkFailed  = "failed calls"
	checkLog     = "log"
	checkSeen    = "seen"
)

// PodsOf are the pods whose Envoys know something of what names stand for, the unready ones first, some of each. A name
// that stands for nothing has none.
func (m *Mesh) PodsOf(namespace string, names ...string) []Pod {
	var out []Pod
	for _, name := range names {
		found, err := m.Find(name, namespace)
		if err != nil {
			continue
		}
		var pods []Pod
		groups := []*Group{found.Group}
		switch {
		case found.Service != nil:
			groups = m.selected(found.service)
		case found.Group == nil:
			groups = found.Workload.Groups
		}
		for _, g := range groups {
			for _, pod := range g.Pods {
				if pod.injected() && pod.Config != "" && !pod.ended() {
					pods = append(pods, pod)
				}
			}
		}
		slices.SortStableFunc(pods, func(a, b Pod) int {
			switch {
			case a.ready() == b.ready():
				return 0
			case b.ready():
				return -1
			}
			return 1
		})
		out = append(out, pods[:min(len(pods), mostNames)]...)
	}
	return out
}

// witnesses are the pods of a group whose Envoys were asked.
func (m *Mesh) witnesses(g *Group) []Pod {
	return slices.DeleteFunc(slices.Clone(g.Pods), func(p Pod) bool { _, ok := m.Told[p.key()]; return !ok })
}

// witnessed are the checks of what the Envoys of a group say of themselves.
func (m *Mesh) witnessed(g *Group) []Step {
	if len(g.Pods) == 0 {
		return nil
	}
	steps := m.entries(g)
	asked := m.witnesses(g)
	if len(asked) == 0 {
		return steps
	}
	steps = append(steps, m.svids(asked)...)
	if s := m.configuration(g, asked); s.Check != "" {
		steps = append(steps, s)
	}
	for _, pod := range asked {
		if m.told(pod).appIsSilent() {
			steps = append(steps, Step{Check: checkApp, Status: Fails, Reason: m.nothingListens(g)})
			break
		}
	}
	return append(steps, m.lately(asked)...)
}

// svids say which SVID ends first, and of each that is not renewed.
func (m *Mesh) svids(asked []Pod) []Step {
	var steps []Step
	var first *SVID
	var silent []string
	for _, pod := range asked {
		status, r := m.svid(pod)
		if status != OK {
			steps = append(steps, Step{Check: checkSVID, Status: status, Reason: r})
			continue
		}
		switch told := m.told(pod); {
		case told.SVID == nil:
			silent = append(silent, pod.Name)
		case first == nil || told.SVID.Until.Before(first.Until):
			first = told.SVID
		}
	}
	if first != nil && len(steps) == 0 {
		steps = append(steps, Step{Check: checkSVID, Status: OK, Reason: Reason{
			Found: fmt.Sprintf("on its node, valid for %s more, until %s", duration.HumanDuration(first.Until.Sub(m.At)),
				first.Until.UTC().Format(time.RFC3339)),
		}})
	}
	if len(silent) > 0 {
		steps = append(steps, Step{Check: checkSVID, Status: Unknown, Reason: Reason{Found: m.unanswered(silent, asked)}})
	}
	return steps
}

// unanswered says which Envoys did not answer, and why.
func (m *Mesh) unanswered(names []string, asked []Pod) string {
	why := ""
	for _, pod := range asked {
		if told := m.told(pod); told.Err != nil && slices.Contains(names, pod.Name) {
			why = ": " + oneLine(told.Err)
			break
		}
	}
	return "not known of " + someOf(names) + intent.Cut(why, mostMessage)
}

// configuration says whether Envoys took what they were given last.
func (m *Mesh) configuration(g *Group, asked []Pod) Step {
	var rejecting []string
	reason := ""
	known := 0
	for _, pod := range asked {
		told := m.told(pod)
		if told.Updates != nil {
			known++
		}
		if told.rejects() {
			rejecting = append(rejecting, pod.Name)
		}
		if told.Log != nil && told.Log.Rejection != "" {
			reason = told.Log.Rejection
			if told.Updates == nil && !pod.ready() && !slices.Contains(rejecting, pod.Name) { // it never came so far that it could say it
				rejecting = append(rejecting, pod.Name)
			}
		}
	}
	switch {
	case len(rejecting) > 0:
		found := "Envoy rejects its configuration, in " + someOf(rejecting)
		if reason != "" {
			found += ": " + reason
		}
		return Step{Check: checkConfig, Status: Fails, Reason: Reason{
			Found: found,
			Remedy: fmt.Sprintf("undo the last change of the annotations of %s or of Namespace %s, or of the platform file: Envoy goes on "+
				"with what it had", g.Of, g.Of.Namespace),
		}}
	case known > 0:
		return Step{Check: checkConfig, Status: OK, Reason: Reason{Found: "taken by Envoy as it was given last"}}
	}
	for _, pod := range asked {
		if err := m.told(pod).Err; err != nil {
			return Step{Check: checkConfig, Status: Unknown, Reason: Reason{Found: m.unanswered([]string{pod.Name}, asked)}}
		}
	}
	return Step{}
}

// rejects says whether Envoy refused last what it was given last, or the first that it was given.
func (t Told) rejects() bool {
	return verdict.First(t.Updates).Outcome == verdict.Rejected ||
		verdict.Standing(t.Updates).Outcome == verdict.Rejected
}

// logsOf are the logs that were read, and the names of their pods.
func (m *Mesh) logsOf(pods []Pod) (logs []*Log, names []string) {
	for _, pod := range pods {
		if log := m.told(pod).Log; log != nil {
			logs, names = append(logs, log), append(names, pod.Name)
		}
	}
	return logs, names
}

// lately says who was refused, and which calls failed, as far as logs reach back.
func (m *Mesh) lately(asked []Pod) []Step {
	logs, names := m.logsOf(asked)
	if len(logs) == 0 {
		return nil
	}
	var steps []Step
	counts := map[string]int{}
	for _, s := range mergedSeen(logs...) {
		step := Step{Status: Note}
		switch s.Kind {
		case Refused, Rebuked, Audited:
			step.Check, step.Found = checkRefused, m.refusalText(s)
		case Failed:
			step.Check, step.Found = checkFailed, fmt.Sprintf("%s by 127.0.0.1:%d failed, %s: %s", agree(s.Count, "call", "calls"),
				s.Port, m.when(s), failureText(s.Reason))
		case Passed, Plain, Called:
			continue
		}
		if counts[step.Check]++; counts[step.Check] <= mostNames {
			steps = append(steps, step)
		}
	}
	for _, check := range []string{checkRefused, checkFailed} {
		if more := counts[check] - mostNames; more > 0 {
			steps = append(steps, Step{Check: check, Status: Note, Reason: Reason{Found: fmt.Sprintf("and %d kinds more", more)}})
		}
	}
	return append(steps, Step{Check: checkLog, Status: OK, Reason: Reason{Found: m.reachText(logs, names)}})
}

// refusalText says who was refused, how often, and why.
func (m *Mesh) refusalText(s Seen) string {
	who := m.callerText(s)
	switch s.Kind {
	case Rebuked:
		return fmt.Sprintf("%s of %s denied, %s: %s", agree(s.Count, "request", "requests"), who, m.when(s), s.Reason)
	case Audited:
		return fmt.Sprintf("%s of %s let in, %s, which enforcement would refuse", agree(s.Count, "call", "calls"), who, m.when(s))
	case Passed, Refused, Plain, Called, Failed:
	}
	return fmt.Sprintf("%s of %s, %s: %s", agree(s.Count, "refusal", "refusals"), who, m.when(s), failureText(s.Reason))
}

// callerText names a caller: by its identity and who has it here, or by the pod with its address.
func (m *Mesh) callerText(s Seen) string {
	if s.Peer != "" {
		text := m.shortText(s.Peer)
		if is := m.byID[s.Peer]; len(is) > 0 {
			text += " (" + is[0].String() + ")"
		}
		return text
	}
	if pod := m.podAt(s.Address); pod != "" {
		return "Pod " + pod
	}
	return orDefault(s.Address, "somebody")
}

// podAt is the pod with an address, as namespace/name; empty if none has it now, or several of a node's.
func (m *Mesh) podAt(address string) string {
	found := ""
	for _, pod := range m.Pods {
		if address == "" || pod.Status.PodIP != address || pod.ended() {
			continue
		}
		if pod.Spec.HostNetwork || found != "" {
			return ""
		}
		found = pod.key()
	}
	return found
}

// when says since when something was seen, and when last.
func (m *Mesh) when(s Seen) string {
	if s.Count == 1 {
		return "at " + m.clock(s.Last)
	}
	return fmt.Sprintf("since %s, last at %s", m.clock(s.First), m.clock(s.Last))
}

// clock is a time of today without the day.
func (m *Mesh) clock(t time.Time) string {
	if t.UTC().Format(time.DateOnly) == m.At.UTC().Format(time.DateOnly) {
		return t.UTC().Format(time.TimeOnly)
	}
	return t.UTC().Format(time.RFC3339)
}

// reachText says how far back logs go.
func (m *Mesh) reachText(logs []*Log, names []string) string {
	var from time.Time
	cut := false
	for _, l := range logs {
		cut = cut || l.Cut
		if !l.From.IsZero() && (from.IsZero() || l.From.After(from)) { // what all of them have
			from = l.From
		}
	}
	if from.IsZero() {
		return "nothing in the log of " + someOf(names)
	}
	text := fmt.Sprintf("of %s, back to %s", someOf(names), m.clock(from))
	if cut {
		text += ", which is not all of it"
	}
	return text
}

// failures say what TLS errors mean, the first that is found.
var failures = []struct{ part, means string }{
	{"SAN_match", "the other side's identity is not in the list"},
	{"PEER_DID_NOT_RETURN_A_CERTIFICATE", "it presented no certificate"},
	{"HTTP_REQUEST", "plain text came to a port of mutual TLS"},
	{"WRONG_VERSION_NUMBER", "plain text came back: the address leads past the other side's Envoy"},
	{"CERTIFICATE_VERIFY_FAILED", "its certificate expired, or is of an authority that is not trusted"},
	{"CERTIFICATE_EXPIRED", "a certificate expired"},
	{"delayed connect error: 111", "nobody listens there"},
	{"Connection refused", "nobody listens there"},
	{"no_healthy_upstream", "the host does not exist, or nobody answers there"},
}

// failureText is a reason for people, with the words that Envoy has.
func failureText(reason string) string {
	for _, f := range failures {
		if strings.Contains(reason, f.part) {
			return f.means + " (" + f.part + ")"
		}
	}
	return orDefault(reason, "no reason in the log")
}

// seenBetween is what the logs of both sides say of calls from one group to another.
func (m *Mesh) seenBetween(from, to *Group, listen uint16) []Step {
	var steps []Step
	for _, side := range []struct {
		of    *Group
		mine  func(Seen) bool
		whose string
	}{
		{to, func(s Seen) bool { return s.Peer == from.ID.String() && s.Kind != Called }, "callee"},
		{from, func(s Seen) bool { return s.Port == listen && (s.Kind == Called || s.Kind == Failed) }, "caller"},
	} {
		logs, names := m.logsOf(m.witnesses(side.of))
		if len(logs) == 0 {
			continue
		}
		var texts []string
		for _, s := range mergedSeen(logs...) {
			if !side.mine(s) || len(texts) == mostNames {
				continue
			}
			switch s.Kind {
			case Passed, Called:
				texts = append(texts, fmt.Sprintf("%s passed, %s", agree(s.Count, "call", "calls"), m.when(s)))
			case Failed:
				texts = append(texts, fmt.Sprintf("%s failed, %s: %s", agree(s.Count, "call", "calls"), m.when(s), failureText(s.Reason)))
			case Refused, Rebuked, Audited, Plain:
				texts = append(texts, m.refusalText(s))
			}
		}
		if len(texts) == 0 {
			texts = []string{"no such call"}
		}
		steps = append(steps, Step{Check: checkSeen, Status: Note, Reason: Reason{
			Found: fmt.Sprintf("by the %s: %s; log %s", side.whose, strings.Join(texts, "; "), m.reachText(logs, names)),
		}})
	}
	return steps
}

// svidsOfCall say of either side that its SVID is not valid.
func (m *Mesh) svidsOfCall(from *Group, callee Found) []Step {
	pods := m.witnesses(from)
	switch {
	case callee.Group != nil:
		pods = append(pods, m.witnesses(callee.Group)...)
	case callee.Workload != nil:
		pods = append(pods, m.witnesses(callee.Workload.main())...)
	}
	return slices.DeleteFunc(m.svids(pods), func(s Step) bool { return s.Status == OK })
}

// listenTo is the port of the upstream by which a group calls somebody; 0 if it has none.
func (m *Mesh) listenTo(g *Group, callee Found) uint16 {
	for _, up := range g.Intent.Proxy.Upstreams {
		if !up.Server.External && m.meansTo(m.leadsTo(up.Address, g.Of.Namespace), callee) {
			return up.Listen
		}
	}
	return 0
}
