package answers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// List is all workloads that are injected, or that asked for it.
type List struct {
	Workloads []Listed `json:"workloads"`
	// SidecarImage is Envoy's in the platform file; empty where that is not known.
	SidecarImage string `json:"sidecarImage,omitempty"`
	// Gaps are what could not be read, and what that leaves open.
	Gaps []string `json:"gaps,omitempty"`

	trustDomain string
	asked       bool // Envoys were
}

// Listed are pods of one workload that are alike.
type Listed struct {
	Object
	State State `json:"state"`
	Pods  int   `json:"pods"`
	Ready int   `json:"ready"`
	// Wanted are the pods of a workload that has none.
	Wanted int32 `json:"wanted,omitempty"`
	// SPIFFEID is empty where there is no identity.
	SPIFFEID  string     `json:"spiffeID,omitempty"`
	IDOrigin  string     `json:"idWrittenIn,omitempty"`
	Mode      string     `json:"mode,omitempty"`
	Listeners []Listener `json:"listeners,omitempty"`
	Upstreams []Upstream `json:"upstreams,omitempty"`
	// Images are those of Envoy, Configs the digests of what it is given now, and Versions the injectors that did it.
	Images   []Count `json:"sidecarImages,omitempty"`
	Configs  []Count `json:"configurations,omitempty"`
	Versions []Count `json:"injectorVersions,omitempty"`
	// Asked are the pods whose Envoys were asked; Rejecting of them go on with an older configuration than Configs.
	Asked     int `json:"asked,omitempty"`
	Rejecting int `json:"rejecting,omitempty"`
	// SVIDExpires is when the first of their SVIDs does, and SVIDSeconds how long that is from now.
	SVIDExpires *time.Time `json:"svidExpires,omitempty"`
	SVIDSeconds *int64     `json:"svidSeconds,omitempty"`
	// Why says what is wrong; nil if nothing is.
	Why *Reason `json:"why,omitempty"`

	ownImage bool // the sidecar's is chosen by annotation
}

// Listener is a port that serves callers.
type Listener struct {
	Port      uint16   `json:"port"`
	Protocol  string   `json:"protocol"`
	TLS       string   `json:"tls"`
	Audit     bool     `json:"audit,omitempty"`
	Everybody bool     `json:"everybody,omitempty"` // callers need no certificate
	Peers     []string `json:"peers,omitempty"`
	Rules     []string `json:"rules,omitempty"` // of those who may make some requests
	WrittenIn string   `json:"writtenIn,omitempty"`
}

// Upstream is what the pods call.
type Upstream struct {
	Listen  uint16   `json:"listen,omitempty"`
	Name    string   `json:"name,omitempty"` // by which the app calls it; 127.0.0.1 without one
	Match   string   `json:"match,omitempty"`
	Address string   `json:"address"`
	Peers   []string `json:"peers,omitempty"`
}

// Count is how many pods have a value.
type Count struct {
	Value string `json:"value"`
	Pods  int    `json:"pods"`
}

// List lists the workloads of a namespace, or of all for the empty one.
func (m *Mesh) List(namespace string) List {
	l := List{Gaps: m.Gaps(), Workloads: []Listed{}, asked: m.Told != nil}
	if m.Platform != nil {
		l.SidecarImage, l.trustDomain = m.Platform.Sidecar.Image, m.Platform.Cluster.TrustDomain.IDString()
	}
	for _, w := range m.Workloads {
		if namespace != "" && w.Namespace != namespace {
			continue
		}
		l.Workloads = append(l.Workloads, m.rows(w)...)
	}
	return l
}

// rows are one for each kind of pods that a workload has.
func (m *Mesh) rows(w *Workload) []Listed {
	var rows []Listed
	var of []*Group // one of each row
	for _, g := range w.Groups {
		if g.State == NotAsked && !m.meant(g) {
			continue
		}
		at := slices.IndexFunc(of, func(other *Group) bool { return alike(g, other) })
		if at < 0 {
			of, rows = append(of, g), append(rows, m.row(g))
			at = len(rows) - 1
		}
		row := &rows[at]
		for _, pod := range g.Pods {
			row.Pods++
			if pod.ready() {
				row.Ready++
			}
			if !pod.injected() {
				continue
			}
			row.Images = counted(row.Images, pod.image())
			row.Configs = counted(row.Configs, pod.Config)
			row.Versions = counted(row.Versions, inject.StatusOf(pod.Pod).Version)
			m.addTold(row, pod)
		}
	}
	return rows
}

// addTold adds to a row what a pod's Envoy said, if it was asked.
func (m *Mesh) addTold(row *Listed, pod Pod) {
	told, asked := m.Told[pod.key()]
	if !asked {
		return
	}
	row.Asked++
	if told.rejects() {
		row.Rejecting++
	}
	if told.SVID != nil && (row.SVIDExpires == nil || told.SVID.Until.Before(*row.SVIDExpires)) {
		left := int64(told.SVID.Until.Sub(m.At).Seconds())
		row.SVIDExpires, row.SVIDSeconds = &told.SVID.Until, &left
	}
}

// alike says whether pods of two groups have one row.
func alike(a, b *Group) bool {
	return a.State == b.State && a.ID == b.ID && a.Mode == b.Mode && a.Known == b.Known &&
		digestOf(ours(a.Asked.Annotations)) == digestOf(ours(b.Asked.Annotations))
}

// meant says whether somebody wanted pods to be injected for whom no label asks: it, or an annotation, stands where it
// does nothing.
func (m *Mesh) meant(g *Group) bool {
	if g.Asked.Labels[intent.LabelInject] == intent.InjectDisabled {
		return false
	}
	written := func(key string) bool { _, ok := g.Asked.Annotations[key]; return ok }
	if slices.ContainsFunc(intent.WrittenByUsers(), written) || written(intent.LabelInject) {
		return true
	}
	t := g.Of.Template
	if t == nil {
		return false
	}
	return t.Labels[intent.LabelInject] != "" || t.Pod.Labels[intent.LabelInject] != "" || len(g.Of.misplaced()) > 0
}

// row is that of a group, without its pods.
func (m *Mesh) row(g *Group) Listed {
	row := Listed{Object: g.Of.Object, State: g.told(), Mode: g.Mode, ownImage: g.Asked.Annotations[intent.AnnotationProxyImage] != ""}
	if !g.ID.IsZero() {
		row.SPIFFEID = g.ID.String()
	}
	if g.Why != (Reason{}) {
		row.Why = &g.Why
	}
	if len(g.Pods) == 0 && g.Of.Template != nil {
		row.Wanted = g.Of.Template.Wanted
	}
	if !g.Known || g.State == NotInjected {
		return row
	}
	row.IDOrigin = g.Intent.Origins.ID.Of(g.Of.Namespace)
	if !g.Intent.Mode.Envoy() {
		return row
	}
	for i, in := range g.Intent.Proxy.Inbound {
		row.Listeners = append(row.Listeners, listenerOf(g, i, in))
	}
	for _, up := range g.Intent.Proxy.Upstreams {
		u := Upstream{Listen: up.Listen, Name: up.Name.String(), Address: up.Address.String(), Peers: texts(up.Peers)}
		if !up.Match.IsZero() {
			u.Match = up.Match.String()
		}
		row.Upstreams = append(row.Upstreams, u)
	}
	return row
}

func listenerOf(g *Group, i int, in ir.Inbound) Listener {
	l := Listener{
		Port:      in.Listen,
		Protocol:  in.Protocol.String(),
		TLS:       in.TLS.String(),
		Audit:     in.Audits(),
		Everybody: in.Public() || in.TLS == ir.Permissive,
		Peers:     texts(in.Peers),
	}
	for _, rule := range in.Rules {
		l.Rules = append(l.Rules, rule.Peer.String()+": "+ruleTexts([]ir.Rule{rule}))
	}
	if in.Identifies() {
		l.WrittenIn = g.Intent.Origins.Peers(i).Of(g.Of.Namespace)
	}
	return l
}

func texts(peers []ir.Peer) []string {
	var out []string
	for _, p := range peers {
		out = append(out, p.String())
	}
	return out
}

// counted counts one more pod with a value; the empty one is none.
func counted(counts []Count, value string) []Count {
	if value == "" {
		return counts
	}
	at := slices.IndexFunc(counts, func(c Count) bool { return c.Value == value })
	if at < 0 {
		return append(counts, Count{value, 1})
	}
	counts[at].Pods++
	return counts
}

// Outdated says which pods have another sidecar than the platform file names; empty if none has.
func (l List) Outdated() string {
	if l.SidecarImage == "" {
		return ""
	}
	images := map[string]int{}
	var where []string
	total := 0
	for _, w := range l.Workloads {
		old := 0
		for _, c := range w.Images {
			if c.Value != l.SidecarImage && !w.ownImage {
				old += c.Pods
				images[c.Value] += c.Pods
			}
		}
		if old > 0 {
			where = append(where, fmt.Sprintf("%s (%d)", w.Short(), old))
			total += old
		}
	}
	if total == 0 {
		return ""
	}
	text := strings.Join(where[:min(len(where), mostNames)], ", ")
	if more := len(where) - mostNames; more > 0 {
		text += fmt.Sprintf(" and %s more", agree(more, "workload", "workloads"))
	}
	var names []string
	for image := range images {
		names = append(names, image)
	}
	slices.Sort(names)
	name, tag := splitImage(l.SidecarImage)
	prefix := name[strings.LastIndex(name, "/")+1:] + " "
	for i, image := range names {
		names[i] = imageBeside(image, l.SidecarImage)
		if names[i] == image { // of another name
			prefix, tag = "", l.SidecarImage
		}
	}
	return fmt.Sprintf("%s %s%s, the platform has %s: %s", agree(total, "pod runs", "pods run"), prefix,
		strings.Join(names, " and "), tag, text)
}

// imageBeside is an image without what it has in common with another one: registry and name.
func imageBeside(image, other string) string {
	name, tag := splitImage(image)
	if of, _ := splitImage(other); of == name && tag != "" {
		return tag
	}
	return image
}

// splitImage is an image's name, and its tag or digest.
func splitImage(image string) (name, tag string) {
	if name, digest, ok := strings.Cut(image, "@"); ok {
		return name, digest
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i], image[i+1:]
	}
	return image, ""
}

// summary counts, for the last line.
func (l List) summary() string {
	counts := map[State]int{}
	pods := 0
	for _, w := range l.Workloads {
		counts[w.State]++
		if w.State == Injected {
			pods += w.Pods
		}
	}
	text := fmt.Sprintf("%s injected", agree(counts[Injected], "workload", "workloads"))
	if pods > 0 {
		text += fmt.Sprintf(" (%s)", agree(pods, "pod", "pods"))
	}
	if n := counts[ToBeInjected]; n > 0 && counts[Injected] == 0 {
		text = agree(n, "workload", "workloads") + " to be injected"
	} else if n > 0 {
		text += fmt.Sprintf(", %d to be injected", n)
	}
	for _, s := range []struct {
		state State
		text  string
	}{
		{NotInjected, "not injected though asked"},
		{NotAsked, "not asked where it counts"},
		{Denied, "denied"},
	} {
		if n := counts[s.state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, s.text)
		}
	}
	return text
}

// version is what a sidecar column shows.
func (l List) version(c Count, of int) string {
	text := imageBeside(c.Value, cmp.Or(l.SidecarImage, c.Value))
	if of > 1 {
		text += fmt.Sprintf(" ×%d", c.Pods)
	}
	return text
}
