package templates

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// maxSocketPath is what fits a Unix socket address on Linux, without its final zero byte.
const maxSocketPath = 107

// mistakes collects what is wrong with a [Proxy].
type mistakes struct {
	errs  []error
	taken map[uint16]string // who has a port
}

func (m *mistakes) add(format string, args ...any) {
	m.errs = append(m.errs, fmt.Errorf(format, args...))
}

// take gives a port to whoever asks first.
func (m *mistakes) take(port uint16, by string) {
	switch owner, ok := m.taken[port]; {
	case port == 0:
		m.add("%s: expected a listen port from 1 to 65535, got 0", by)
	case ok:
		m.add("%s: port %d is already taken by %s", by, port, owner)
	default:
		m.taken[port] = by
	}
}

// validate returns every mistake, joined.
func (p Proxy) validate() error {
	m := &mistakes{taken: map[uint16]string{AdminPort: "the admin interface", ReadinessPort: "the readiness endpoint"}}
	p.checkWhole(m)
	p.takePorts(m)
	p.checkInbound(m)
	p.checkUpstreams(m)
	p.checkProbes(m)
	for i, prefix := range p.Metrics.Include {
		if prefix == "" || !isPrintable(prefix) {
			m.add("metrics: expected prefix %d of a statistic's name in printable ASCII, got %q", i+1, prefix)
		}
	}
	return errors.Join(m.errs...)
}

func (p Proxy) checkWhole(m *mistakes) {
	if p.ID.IsZero() || p.ID.Path() == "" {
		m.add("proxy: expected a SPIFFE ID with a path, got %q", p.ID.String())
	}
	if p.SVIDTTL < 2*time.Second {
		m.add("proxy: expected an SVID TTL of at least 2s, got %s", p.SVIDTTL)
	}
	if !path.IsAbs(p.AgentSocket) || !utf8.ValidString(p.AgentSocket) || len(p.AgentSocket) > maxSocketPath {
		m.add("proxy: expected the agent socket's absolute path in at most %d bytes, got %q", maxSocketPath, p.AgentSocket)
	}
	if p.Drain < 0 {
		m.add("proxy: expected a drain time of 0s or more, got %s", p.Drain)
	}
	if len(p.Inbound) == 0 && len(p.Upstreams) == 0 {
		m.add("proxy: expected at least one inbound port or one upstream, got none")
	}
}

func (in Inbound) where(i int) string { return fmt.Sprintf("inbound %d (listen %d)", i+1, in.Listen) }

func (up Upstream) where(i int) string {
	if !up.Match.isZero() {
		return fmt.Sprintf("upstream %d (match %s)", i+1, up.Match)
	}
	return fmt.Sprintf("upstream %d (listen %d)", i+1, up.Listen)
}

func (pr Probe) where(i int) string { return fmt.Sprintf("probe %d (listen %d)", i+1, pr.Listen) }

func (p Proxy) takePorts(m *mistakes) {
	for i, in := range p.Inbound {
		m.take(in.Listen, in.where(i))
	}
	for i, up := range p.Upstreams {
		if up.Match.isZero() {
			m.take(up.Listen, up.where(i))
		}
	}
	shared := map[uint16]bool{}
	for i, probe := range p.Probes {
		if probe.Kind != ProbeGRPC && shared[probe.Listen] {
			continue
		}
		m.take(probe.Listen, probe.where(i))
		shared[probe.Listen] = probe.Kind != ProbeGRPC
	}
	if p.Metrics.Port != 0 {
		m.take(p.Metrics.Port, "the metrics endpoint")
	}
}

func (p Proxy) checkInbound(m *mistakes) {
	routed := false
	for _, up := range p.Upstreams {
		routed = routed || !up.Match.isZero()
	}
	speaks := map[uint16]Protocol{}
	for i, in := range p.Inbound {
		where := in.where(i)
		switch owner, taken := m.taken[in.App]; {
		case taken:
			// Forwarding there would be a loop, or open the admin interface to callers.
			m.add("%s: expected the app's own port, but %d belongs to %s", where, in.App, owner)
		case in.App == 0 && !routed:
			m.add("%s: expected an app port from 1 to 65535, or upstreams with a match, got 0 and none", where)
		case in.App == 0 && in.Protocol == TCP:
			m.add("%s: expected protocol %s, %s or %s for a gateway, got %s", where, HTTP, HTTP2, GRPC, in.Protocol)
		}
		if !in.Protocol.valid() {
			m.add("%s: expected a known protocol, got %s", where, in.Protocol)
		}
		if !in.TLS.valid() {
			m.add("%s: expected a known TLS mode, got %s", where, in.TLS)
		}
		if in.App != 0 {
			if earlier, ok := speaks[in.App]; ok && earlier != in.Protocol {
				m.add("%s: expected protocol %s for app port %d as in an earlier inbound, got %s", where, earlier, in.App, in.Protocol)
			}
			speaks[in.App] = in.Protocol
		}
		m.checkJWT(where, in)
		m.checkClients(where, in)
		m.checkForwarded(where, in)
		m.checkLimits(where, in)
	}
	p.checkOneValidator(m)
}

func (p Proxy) checkUpstreams(m *mistakes) {
	gateway := false
	for _, in := range p.Inbound {
		gateway = gateway || in.App == 0
	}
	matched := map[Match]bool{}
	for i, up := range p.Upstreams {
		where := up.where(i)
		if !up.Match.isZero() {
			switch {
			case up.Listen != 0:
				m.add("%s: expected either a listen port or a match, got listen %d too", where, up.Listen)
			case !gateway:
				m.add("%s: expected an inbound without app port, whose requests could match, got none", where)
			case up.Protocol == TCP:
				m.add("%s: expected protocol %s, %s or %s for a route, got %s", where, HTTP, HTTP2, GRPC, up.Protocol)
			case matched[up.Match]:
				m.add("%s: an earlier upstream has the same match", where)
			}
			matched[up.Match] = true
		}
		if up.Address == (Address{}) {
			m.add("%s: expected an address, got none", where)
		}
		if !up.Protocol.valid() {
			m.add("%s: expected a known protocol, got %s", where, up.Protocol)
		}
		switch {
		case up.JWTAudience == "":
		case up.Protocol == TCP:
			m.add("%s: expected no audience of tokens with protocol %s, which has no header for them", where, TCP)
		case !isPrintable(up.JWTAudience):
			m.add("%s: expected an audience in printable ASCII, got %q", where, up.JWTAudience)
		}
		m.checkPeers(where, up.Peers)
		// A server's certificate is not held against [oneID].
		if bundle(up.Peers) == allBundles && len(up.Peers) > 0 {
			m.add("%s: expected peers of one trust domain, got several", where)
		}
	}
}

func (p Proxy) checkProbes(m *mistakes) {
	type place struct {
		listen uint16
		path   string
	}
	seen := map[place]bool{}
	for i, probe := range p.Probes {
		where := probe.where(i)
		if owner, ok := m.taken[probe.App]; ok {
			m.add("%s: expected the app's own port, but %d belongs to %s", where, probe.App, owner)
		} else if probe.App == 0 {
			m.add("%s: expected an app port from 1 to 65535, got 0", where)
		}
		if !probe.Kind.valid() {
			m.add("%s: expected a known kind, got %s", where, probe.Kind)
			continue
		}
		if probe.Kind == ProbeGRPC {
			if probe.Path != "" {
				m.add("%s: expected no path of a gRPC probe, got %q", where, probe.Path)
			}
		} else {
			if at := (place{probe.Listen, probe.Path}); seen[at] {
				m.add("%s: path %q is already taken by an earlier probe", where, probe.Path)
			} else {
				seen[at] = true
			}
			if !isRequestTarget(probe.Path) || strings.ContainsAny(probe.Path, "?#") {
				m.add("%s: expected a path that begins with a slash, in printable ASCII without a query, got %q", where, probe.Path)
			}
		}
		if probe.Kind.hasTarget() && (!isRequestTarget(probe.Target) || strings.Contains(probe.Target, "#")) {
			m.add("%s: expected a target that begins with a slash, in printable ASCII, got %q", where, probe.Target)
		}
		if !probe.Kind.hasTarget() && probe.Target != "" {
			m.add("%s: expected no target of a %s probe, got %q", where, probe.Kind, probe.Target)
		}
	}
}

// checkPeers refuses lists that Envoy would take to mean everyone.
func (m *mistakes) checkPeers(where string, peers []Peer) {
	if len(peers) == 0 {
		m.add("%s: expected at least one peer, got none; \"/*\" allows the whole trust domain", where)
	}
	for i, peer := range peers {
		if peer.isZero() {
			m.add("%s: peer %d was not made by ParsePeer", where, i+1)
			break
		}
	}
}

// checkJWT refuses what would let in requests without a token.
func (m *mistakes) checkJWT(where string, in Inbound) {
	if in.JWT.isZero() {
		return
	}
	if in.Protocol == TCP {
		m.add("%s: expected no audiences and subjects of tokens with protocol %s, which has no header for them", where, TCP)
	}
	if len(in.JWT.Audiences) == 0 {
		m.add("%s: expected at least one audience of tokens, got none", where)
	}
	for _, audience := range in.JWT.Audiences {
		if audience == "" || !isPrintable(audience) {
			m.add("%s: expected audiences in printable ASCII, got %q", where, audience)
		}
	}
	m.checkPeers(where+": subjects", in.JWT.Subjects)
}

// isRequestTarget says whether s can stand in a request line.
func isRequestTarget(s string) bool { return strings.HasPrefix(s, "/") && isPrintable(s) }

// isPrintable says whether s is of visible ASCII characters only.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
