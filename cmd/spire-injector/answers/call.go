package answers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Status is what a check of a call says.
type Status string

// What a check can say.
const (
	OK      Status = "ok"
	Fails   Status = "fails"
	Unknown Status = "unknown" // what is known does not say it
	Note    Status = "note"    // it works, and there is something to know
)

// The checks of a call, by their names.
const (
	checkCaller    = "caller"
	checkCallee    = "callee"
	checkUpstream  = "upstream"
	checkAddress   = "address"
	checkPort      = "port"
	checkEndpoints = "endpoints"
	checkID        = "expected ID"
	checkPeers     = "allowed peers"
	checkRequest   = "request"
)

// Step is one check of a call.
type Step struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Reason
	// OfCaller says that what fails is a call of somebody else: the workload itself is well.
	OfCaller bool `json:"ofCaller,omitempty"`
}

// Request is what a call asks for; the zero value leaves it open.
type Request struct{ Method, Path string }

// ParseRequest reads METHOD PATH.
func ParseRequest(s string) (Request, error) {
	if s == "" {
		return Request{}, nil
	}
	method, path, ok := strings.Cut(s, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		return Request{}, fmt.Errorf("expected a method and a path such as 'GET /v1/users', got %q", s)
	}
	if _, err := ir.ParseMethod(method); err != nil {
		return Request{}, err
	}
	path, _, _ = strings.Cut(path, "?") // which is never compared
	return Request{Method: method, Path: path}, nil
}

func (r Request) isZero() bool { return r == Request{} }

// call is one that a caller's upstream makes to a backend of its address.
type call struct {
	mesh    *Mesh
	from    *Group
	up      ir.Upstream
	index   int // of the upstream, as it was written
	service Object
	to      backend
	request Request
}

// steps are the checks of a call, in the order in which it would meet them. What follows from a failed one is left out.
func (c call) steps() []Step {
	var steps []Step
	for _, s := range []struct {
		name  string
		check func() (Status, Reason)
	}{
		{checkPort, c.port},
		{checkEndpoints, c.endpoints},
		{checkID, c.expectedID},
		{checkPeers, c.allowedPeers},
		{checkRequest, c.requested},
	} {
		status, reason := s.check()
		if reason == (Reason{}) {
			continue
		}
		steps = append(steps, Step{Check: s.name, Status: status, Reason: reason})
		if status == Fails && s.name == checkPort {
			break // nobody answers there
		}
	}
	return steps
}

// listener is that of the callee's Envoy which the call reaches.
func (c call) listener() (in ir.Inbound, index int, ok bool) {
	index = c.to.group.Intent.Proxy.ServerOf(c.to.port)
	if index < 0 {
		return ir.Inbound{}, 0, false
	}
	return c.to.group.Intent.Proxy.Inbound[index], index, true
}

func (c call) address() string { return c.up.Address.String() }

func (c call) callee() *Workload { return c.to.group.Of }

// port says whether the address leads to Envoy, and whether it speaks mutual TLS there.
func (c call) port() (Status, Reason) {
	g := c.to.group
	leads := fmt.Sprintf("%s leads to %d", c.address(), c.to.port)
	switch {
	case g.State != Injected:
		return Fails, Reason{
			Found:  fmt.Sprintf("%s of %s, which is %s: %s", leads, c.callee(), g.State.text(), orDefault(g.Why.Found, "nothing asks for it")),
			Remedy: g.Why.Remedy,
		}
	case !g.Known:
		return Unknown, Reason{Found: leads + " of " + c.callee().String() + ", of which only its identity is known"}
	case !g.Intent.Mode.Envoy():
		return Unknown, Reason{Found: fmt.Sprintf("%s of %s, which has the Workload API and no Envoy: whom its app lets in is "+
			"for the app to say", leads, c.callee())}
	}
	in, i, ok := c.listener()
	if !ok {
		return Fails, c.noListener(leads)
	}
	where := fmt.Sprintf("%s[%d]", g.Intent.Origins.Inbound.Of(c.callee().Namespace), i)
	switch {
	case in.TLS == ir.None:
		return Fails, Reason{
			Found:  fmt.Sprintf("%s of %s, which is plain text there (tls: none), and the caller speaks mutual TLS", leads, c.callee()),
			Remedy: where + ": take tls away, or let the caller's app call that address itself",
		}
	case in.Certificate:
		return Fails, Reason{
			Found: fmt.Sprintf("%s of %s, which presents the certificate of a Secret there and no SVID", leads, c.callee()),
			Remedy: "call a port that presents the SVID, or write tls: {ca: …} in the place of peers in " +
				c.where(""),
		}
	}
	return OK, Reason{Found: leads + whereEnvoyServes(c.to)}
}

// whereEnvoyServes says how callers of a pod's port come to Envoy, which they do.
func whereEnvoyServes(b backend) string {
	p := b.group.Intent.Proxy
	if in := p.Inbound[p.ServerOf(b.port)]; in.Listen != b.port {
		return fmt.Sprintf(", which is captured: the Envoy of %s takes it on %d", b.group.Of, in.Listen)
	}
	return fmt.Sprintf(", where the Envoy of %s listens", b.group.Of)
}

// noListener is about an address that leads past Envoy.
func (c call) noListener(leads string) Reason {
	p := c.to.group.Intent.Proxy
	var listens []uint16
	isApp := slices.ContainsFunc(p.AppPorts, func(app ir.AppPort) bool { return app.Port == c.to.port })
	for _, in := range p.Inbound {
		listens = append(listens, in.Listen)
		isApp = isApp || in.App == c.to.port
	}
	if len(listens) == 0 {
		r := takesNoCalls(c.to.group)
		r.Found = leads + "; " + r.Found
		return r
	}
	remedy := fmt.Sprintf("ports of the Service: [{name: mtls, port: %d}], and address: \"%s:%d\" in %s", listens[0],
		c.up.Address.Host(), listens[0], c.where(".address"))
	if s := c.mesh.services[c.service.Short()]; s != nil {
		for _, p := range s.Spec.Ports {
			if slices.Contains(listens, numberOf(p)) {
				remedy = fmt.Sprintf("write address: \"%s:%d\" in %s", c.up.Address.Host(), p.Port, c.where(".address"))
			}
		}
	}
	if isApp {
		return Reason{Found: leads + ", the app itself, past its sidecar, which listens on " + join(listens), Remedy: remedy}
	}
	return Reason{Found: fmt.Sprintf("%s of %s, whose Envoy listens on %s", leads, c.callee(), join(listens)), Remedy: remedy}
}

// endpoints says whether somebody answers.
func (c call) endpoints() (Status, Reason) {
	m := c.mesh
	switch {
	case !m.Live:
		return OK, Reason{}
	case m.Unread[SourceSlices] != nil || c.to.all == 0 && len(c.to.group.Pods) > 0 && len(m.Slices) == 0:
		return Unknown, Reason{Found: "which endpoints are ready is not known"}
	case len(c.to.group.Pods) == 0:
		return Fails, Reason{Found: c.callee().String() + " has no pods", Remedy: c.noPods()}
	case c.to.ready == 0:
		return Fails, Reason{
			Found: fmt.Sprintf("%s has no ready endpoint in %s: %s", c.service, c.callee(), agree(len(c.to.group.Pods), "pod", "pods")),
			Remedy: fmt.Sprintf("kubectl -n %s describe pod %s: what its readiness lacks", c.callee().Namespace,
				c.to.group.Pods[0].Name),
		}
	}
	return OK, Reason{Found: fmt.Sprintf("%d of %s ready", c.to.ready, agree(c.to.all, "endpoint", "endpoints"))}
}

// noPods is what to do about a workload that should have some.
func (c call) noPods() string {
	if why := c.to.group.Why; why.Remedy != "" {
		return why.Remedy
	}
	w := c.callee()
	return fmt.Sprintf("kubectl -n %s describe %s %s: its events say why", w.Namespace, strings.ToLower(w.Kind), w.Name)
}

// expectedID says whether the caller accepts who answers.
func (c call) expectedID() (Status, Reason) {
	id := c.to.group.ID
	if id.IsZero() {
		return Unknown, Reason{Found: "the identity of " + c.callee().String() + " is not known"}
	}
	accepts := func(p ir.Peer) bool { return p.Matches(id) }
	switch {
	case slices.ContainsFunc(c.up.Refused, accepts):
		return Fails, quarantined(c.mesh.short(id))
	case slices.ContainsFunc(c.up.Peers, accepts):
		return OK, Reason{Found: fmt.Sprintf("the caller accepts %s; %s is %s", c.mesh.peers(c.up.Peers), c.callee(), c.mesh.short(id))}
	}
	return Fails, Reason{
		Found: fmt.Sprintf("%s is %s, %s; the caller accepts %s alone", c.address(), c.callee(), c.mesh.short(id),
			c.mesh.peers(c.up.Peers)),
		Remedy: fmt.Sprintf("write peers: [%s] in %s", c.mesh.short(id), c.where(".peers")),
	}
}

// where is the caller's upstream, as it was written.
func (c call) where(field string) string {
	return fmt.Sprintf("%s[%d]%s of %s", c.from.Intent.Origins.Upstreams.Of(c.from.Of.Namespace), c.index, field, c.from.Of)
}

// allowedPeers says whether the callee lets the caller in.
func (c call) allowedPeers() (Status, Reason) {
	in, i, ok := c.listener()
	id := c.from.ID
	switch {
	case !ok:
		return OK, Reason{}
	case id.IsZero():
		return Unknown, Reason{Found: "the identity of " + c.from.Of.String() + " is not known"}
	}
	callee := c.callee().Short()
	written := c.to.group.Intent.Origins.Peers(i).Of(c.callee().Namespace)
	admits := func(p ir.Peer) bool { return p.Matches(id) }
	switch {
	case slices.ContainsFunc(in.Refused, admits):
		return Fails, quarantined(c.mesh.short(id))
	case in.Clients == ir.NoRequest:
		return OK, Reason{Found: callee + " lets everybody in, without a certificate (clientCertificate: none)"}
	}
	if at := slices.IndexFunc(in.Callers(), admits); at >= 0 {
		return OK, Reason{Found: fmt.Sprintf("%s lets in %s (%s), the caller is %s", callee,
			c.mesh.peers(in.Callers()[at:at+1]), written, c.mesh.short(id))}
	}
	refusal := fmt.Sprintf("%s lets in %s (%s); the caller is %s%s", callee, c.mesh.peers(in.Callers()), written,
		c.mesh.short(id), c.nearPeer(in.Callers(), id))
	if in.Audit {
		return Note, Reason{Found: refusal + ": it is let in, and counted, by enforcement: audit", Remedy: c.admit(in, i)}
	}
	return Fails, Reason{Found: refusal, Remedy: c.admit(in, i)}
}

// nearPeer asks whether an item of a list was meant to be the caller.
func (c call) nearPeer(list []ir.Peer, id spiffeid.ID) string {
	var written []string
	for _, p := range list {
		if !c.mesh.isSomebody(p) {
			written = append(written, c.mesh.shortText(p.String()))
		}
	}
	if near := intent.Nearest(c.mesh.short(id), written...); near != "" {
		return " (did you mean that? nobody here is " + near + ")"
	}
	return ""
}

// admit is how the callee lets the caller in: in the template for new pods, and on the running ones for now.
func (c call) admit(in ir.Inbound, i int) string {
	w, id := c.callee(), c.mesh.short(c.from.ID)
	annotations := w.metadata() + ".annotations of " + w.String()
	origin := c.to.group.Intent.Origins.Peers(i)
	if origin.Key == intent.AnnotationInbound {
		of := annotations
		if origin.Level == intent.OnNamespace {
			of = "the annotations of Namespace " + w.Namespace
		}
		return fmt.Sprintf("add %s to %s[%d].peers in %s", id, intent.AnnotationInbound, i, of)
	}
	var list []string
	for _, p := range in.Peers {
		list = append(list, c.mesh.shortText(p.String()))
	}
	value := strings.Join(append(list, id), ", ")
	remedy := fmt.Sprintf("%s: %s in %s", intent.AnnotationAllowedPeers, value, annotations)
	var names []string
	for _, pod := range c.to.group.Pods {
		names = append(names, pod.Name)
	}
	if len(names) == 0 {
		return remedy
	}
	each := strings.Join(names, " ")
	if len(names) > mostNames {
		each = fmt.Sprintf("POD (each of its %d)", len(names))
	}
	return fmt.Sprintf("%s; now: kubectl -n %s annotate --overwrite pod %s %s='%s'", remedy, w.Namespace, each,
		intent.AnnotationAllowedPeers, value)
}

// quarantined is about an identity that is cut off.
func quarantined(id string) Reason {
	return Reason{
		Found:  id + " is quarantined: it is in the list quarantine of the platform file",
		Remedy: "ask the platform team",
	}
}

// requested says whether the callee lets the request in.
func (c call) requested() (Status, Reason) {
	in, _, ok := c.listener()
	id := c.from.ID
	if !ok || id.IsZero() {
		return OK, Reason{}
	}
	if !in.JWT.IsZero() && c.up.JWTAudience == "" {
		return Unknown, Reason{Found: fmt.Sprintf("%s asks each request for a JWT-SVID too, and the upstream adds none: the app has to",
			c.callee().Short())}
	}
	if slices.ContainsFunc(in.Peers, func(p ir.Peer) bool { return p.Matches(id) }) {
		if c.request.isZero() {
			return OK, Reason{}
		}
		return OK, Reason{Found: "every request of " + c.mesh.short(id) + " is let in"}
	}
	var rules []ir.Rule
	for _, rule := range in.Rules {
		if rule.Peer.Matches(id) {
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return OK, Reason{}
	}
	some := fmt.Sprintf("%s lets in, of %s: %s", c.callee().Short(), c.mesh.short(id), ruleTexts(rules))
	switch {
	case c.request.isZero():
		return Unknown, Reason{Found: some, Remedy: "ask about one of them: --request 'GET /v1/users'"}
	case slices.ContainsFunc(rules, c.request.matches):
		return OK, Reason{Found: some}
	}
	return Fails, Reason{
		Found:  fmt.Sprintf("%s; not %s %s", some, c.request.Method, c.request.Path),
		Remedy: "add the method and the path to the peers of " + c.callee().String(),
	}
}

func (r Request) matches(rule ir.Rule) bool {
	return (rule.Methods == nil || slices.Contains(rule.Methods, r.Method)) &&
		(rule.Paths == nil || slices.ContainsFunc(rule.Paths, func(p ir.Path) bool {
			exact, isExact := p.Exact()
			prefix, _ := p.Prefix()
			return isExact && exact == r.Path || !isExact && strings.HasPrefix(r.Path, prefix)
		}))
}
