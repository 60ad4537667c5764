package answers

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Suggestion is the list of peers that goes with the callers that were seen.
type Suggestion struct {
	Workload Object `json:"workload"`
	// From and Until are between what times callers were seen, in the logs of Pods of all its pods.
	From    time.Time  `json:"from,omitzero"`
	Until   time.Time  `json:"until,omitzero"`
	Pods    []string   `json:"pods"`
	All     int        `json:"allPods"`
	Cut     bool       `json:"cut,omitempty"` // not all of the logs was read
	Callers []Caller   `json:"callers"`
	Lists   []PeerList `json:"lists"`
	// Around are Services that lead past the sidecar.
	Around []Reason `json:"around,omitempty"`
	// Audit says that callers outside the lists are let in, until that annotation goes.
	Audit bool     `json:"audit,omitempty"`
	Gaps  []string `json:"gaps,omitempty"`

	workload *Workload
	mesh     *Mesh
}

// Caller is somebody who called.
type Caller struct {
	Peer  string    `json:"peer,omitempty"` // SPIFFE ID; empty in plain text
	Who   string    `json:"who"`
	Kind  Kind      `json:"kind"`
	Count int       `json:"count"`
	Port  uint16    `json:"port"`
	Last  time.Time `json:"last"`
	// Note says why it is, or is not, in the list.
	Note string `json:"note"`
}

// PeerList is that of one listener.
type PeerList struct {
	Port  uint16   `json:"port"`
	Was   []string `json:"was"`
	Peers []string `json:"peers"` // to be written
	Added []string `json:"added,omitempty"`
	// Unused are items that nobody was seen with.
	Unused    []string `json:"unused,omitempty"`
	WrittenIn string   `json:"writtenIn"`

	key   string
	index int
}

// mostWitnesses bounds the logs that one suggestion is made of.
const mostWitnesses = 50

// Witnesses are the pods whose logs say who called a workload.
func (m *Mesh) Witnesses(name, namespace string) ([]Pod, error) {
	found, err := m.callee(name, namespace)
	if err != nil {
		return nil, err
	}
	var out []Pod
	for _, g := range found.Groups {
		for _, pod := range g.Pods {
			if pod.runsEnvoy() && len(out) < mostWitnesses {
				out = append(out, pod)
			}
		}
	}
	return out, nil
}

// callee is the workload that a name stands for, which takes calls.
func (m *Mesh) callee(name, namespace string) (*Workload, error) {
	found, err := m.Find(name, namespace)
	if err != nil {
		return nil, err
	}
	w := found.Workload
	if w == nil {
		groups := m.selected(found.service)
		if len(groups) == 0 {
			return nil, fmt.Errorf("%s leads to no workload: %s", found.Service, m.nothingBehind(found.service).Found)
		}
		w = groups[0].Of
	}
	g := w.main()
	switch {
	case g.State != Injected:
		return nil, fmt.Errorf("%s is %s: %s", w, g.State.text(), orDefault(g.Why.Found, "nothing asks for it"))
	case !g.Known:
		return nil, fmt.Errorf("whom %s lets in is not known without the platform file", w)
	case !g.serves() || len(g.Intent.Proxy.Inbound) == 0:
		return nil, fmt.Errorf("%s", takesNoCalls(g).Found)
	}
	return w, nil
}

// Suggest makes lists of who was seen to call a workload.
func (m *Mesh) Suggest(name, namespace string) (Suggestion, error) {
	w, err := m.callee(name, namespace)
	if err != nil {
		return Suggestion{}, err
	}
	g := w.main()
	s := Suggestion{Workload: w.Object, Pods: []string{}, Callers: []Caller{}, Gaps: m.Gaps(), workload: w, mesh: m}
	var logs []*Log
	for _, of := range w.Groups {
		s.All += len(of.Pods)
		for _, pod := range m.witnesses(of) {
			told := m.told(pod)
			if told.Log == nil {
				if told.Err != nil {
					s.Gaps = append(s.Gaps, oneLine(told.Err))
				}
				continue
			}
			logs = append(logs, told.Log)
			s.Pods = append(s.Pods, pod.Name)
			s.Cut = s.Cut || told.Log.Cut
			if s.From.IsZero() || !told.Log.From.IsZero() && told.Log.From.Before(s.From) {
				s.From = told.Log.From
			}
			if told.Log.Until.After(s.Until) {
				s.Until = told.Log.Until
			}
		}
	}
	seen := mergedSeen(logs...)
	for i, in := range g.Intent.Proxy.Inbound {
		if !in.Identifies() || in.Clients == ir.NoRequest {
			continue
		}
		s.Audit = s.Audit || in.Audit
		s.Lists = append(s.Lists, m.listFor(g, i, in, seen, &s))
	}
	for _, f := range m.findServices() {
		if strings.HasPrefix(f.Found, "Service ") || !m.leadsAround(f.Where, w) {
			continue
		}
		s.Around = append(s.Around, Reason{Found: f.Where + ": " + f.Found, Remedy: f.Remedy})
	}
	return s, nil
}

// leadsAround says whether a Service, as findings name it, is one of a workload's.
func (m *Mesh) leadsAround(service string, w *Workload) bool {
	return slices.ContainsFunc(m.servicesOf(w), func(o Object) bool { return o.String() == service })
}

// listFor is the list of one listener, and adds its callers to the suggestion.
func (m *Mesh) listFor(g *Group, i int, in ir.Inbound, seen []Seen, to *Suggestion) PeerList {
	origin := g.Intent.Origins.Peers(i)
	list := PeerList{Port: in.Listen, WrittenIn: origin.Of(g.Of.Namespace), key: origin.Key, index: i}
	callers := in.Callers()
	used := make([]bool, len(callers))
	for _, p := range callers {
		list.Was = append(list.Was, m.shortText(p.String()))
	}
	for _, s := range seen {
		if s.Port != in.Listen {
			continue
		}
		c := Caller{Peer: s.Peer, Who: m.callerText(s), Kind: s.Kind, Count: s.Count, Port: s.Port, Last: s.Last}
		add := false
		c.Note, add = m.noteOf(s)
		id, err := spiffeid.FromString(s.Peer)
		if err != nil {
			add = false
		} else {
			for at, item := range callers {
				if item.Matches(id) {
					used[at], add = used[at] || s.Kind == Passed || s.Kind == Audited, false
					if s.Kind != Refused {
						c.Note = "in the list"
					}
				}
			}
		}
		if peer := m.shortText(s.Peer); add && !slices.Contains(list.Added, peer) {
			list.Added = append(list.Added, peer)
		}
		to.Callers = append(to.Callers, c)
	}
	slices.Sort(list.Added)
	for at, is := range used {
		if !is {
			list.Unused = append(list.Unused, list.Was[at])
		}
	}
	var written []string
	for _, p := range in.Peers {
		written = append(written, m.shortText(p.String()))
	}
	list.Peers = slices.Concat(written, list.Added)
	return list
}

// noteOf says of a caller why it belongs into the list, or does not.
func (m *Mesh) noteOf(s Seen) (note string, add bool) {
	verified := s.Kind != Refused || strings.Contains(s.Reason, "SAN_match")
	switch {
	case s.Kind == Plain && s.Peer == "":
		return "in plain text: it has no identity to write", false
	case s.Peer == "":
		return failureText(s.Reason), false
	case !verified: // anybody may write any identity into a certificate of an own authority
		return "not to be added: " + failureText(s.Reason), false
	case m.isQuarantined(s.Peer):
		return "not to be added: it is quarantined", false
	case s.Kind == Audited:
		return "added: let in, because enforcement is audit", true
	case s.Kind == Refused:
		return "added: it was refused; take it out if that was right", true
	case s.Kind == Rebuked:
		return "denied for what it asked: " + s.Reason, false
	}
	return "let in", s.Kind == Passed
}

func (m *Mesh) isQuarantined(id string) bool {
	parsed, err := spiffeid.FromString(id)
	if err != nil || m.Platform == nil {
		return false
	}
	_, is := m.Platform.Quarantined(parsed)
	return is
}

// annotation is the value of allowed-peers that all listeners with it share; false if each has a list of its own.
func (s Suggestion) annotation() (value string, ok bool) {
	var all []string
	for _, l := range s.Lists {
		if l.key == intent.AnnotationInbound {
			continue
		}
		ok = true
		for _, p := range l.Peers {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return strings.Join(all, ", "), ok
}

// Remedies are what to write, and what to run for it.
func (s Suggestion) Remedies() []string {
	var out []string
	w := s.workload
	changed := slices.ContainsFunc(s.Lists, func(l PeerList) bool { return len(l.Added) > 0 })
	if value, ok := s.annotation(); ok && changed {
		out = append(out, fmt.Sprintf("write %s: %s", intent.AnnotationAllowedPeers, value))
		annotations := map[string]any{"annotations": map[string]string{intent.AnnotationAllowedPeers: value}}
		body, err := json.Marshal(nested(w.metadata(), annotations))
		if err == nil && w.Kind != "Pod" {
			out = append(out, fmt.Sprintf("patch: kubectl -n %s patch %s %s --type merge -p '%s'", w.Namespace,
				strings.ToLower(w.Kind), w.Name, body))
		}
		if len(s.Pods) > 0 {
			out = append(out, fmt.Sprintf("now, without a restart: kubectl -n %s annotate --overwrite pod %s %s='%s'", w.Namespace,
				strings.Join(s.Pods, " "), intent.AnnotationAllowedPeers, value))
		}
	}
	for _, l := range s.Lists {
		if l.key == intent.AnnotationInbound && len(l.Added) > 0 {
			out = append(out, fmt.Sprintf("write peers: [%s] in %s[%d]", strings.Join(l.Peers, ", "), l.WrittenIn, l.index))
		}
	}
	if s.Audit {
		out = append(out, fmt.Sprintf("then take %s away: until then callers outside the list are let in", intent.AnnotationEnforcement))
	}
	return out
}

// nested is a value below a path of fields.
func nested(path string, value map[string]any) map[string]any {
	fields := strings.Split(path, ".")
	for _, field := range slices.Backward(fields) {
		value = map[string]any{field: value}
	}
	return value
}

// WriteJSON writes the suggestion as one JSON object.
func (s Suggestion) WriteJSON(w io.Writer) error {
	return writeJSON(w, struct {
		Suggestion
		Remedies []string `json:"remedies"`
	}{s, s.Remedies()})
}

// WriteText writes a line for each caller, and below them what to write.
func (s Suggestion) WriteText(w io.Writer) error {
	var b strings.Builder
	switch {
	case len(s.Pods) == 0:
		fmt.Fprintf(&b, "%s: nothing was seen: the log of none of %s was read\n", s.Workload, agree(s.All, "pod", "pods"))
	case s.From.IsZero():
		fmt.Fprintf(&b, "%s: nobody was seen, in the logs of %d of %s\n", s.Workload, len(s.Pods), agree(s.All, "pod", "pods"))
	default:
		fmt.Fprintf(&b, "%s: seen from %s until %s, in the logs of %d of %s%s\n", s.Workload, s.mesh.clock(s.From), s.mesh.clock(s.Until),
			len(s.Pods), agree(s.All, "pod", "pods"), map[bool]string{true: ", which go further back than was read"}[s.Cut])
	}
	if len(s.Callers) > 0 {
		t := newTable("CALLER", "PORT", "CALLS", "LAST", "WAS", "NOTE")
		for _, c := range s.Callers {
			t.row(c.Who, fmt.Sprint(c.Port), fmt.Sprint(c.Count), s.mesh.clock(c.Last), string(c.Kind), c.Note)
		}
		if err := t.write(&b); err != nil {
			return err
		}
	}
	b.WriteString("\n")
	for _, l := range s.Lists {
		if len(l.Unused) > 0 && !s.From.IsZero() {
			fmt.Fprintf(&b, "%d: nobody was seen of %s (%s); who calls seldom may still need it\n", l.Port, strings.Join(l.Unused, ", "), l.WrittenIn)
		}
	}
	for _, r := range s.Around {
		fmt.Fprintln(&b, r.Found)
	}
	remedies := s.Remedies()
	for _, r := range remedies {
		fmt.Fprintln(&b, r)
	}
	if len(remedies) == 0 {
		fmt.Fprintln(&b, "nothing to add to the list")
	}
	for _, gap := range s.Gaps {
		fmt.Fprintln(&b, gap)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
