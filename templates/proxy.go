package templates

import (
	"errors"
	"fmt"
	"path"
	"time"
	"unicode/utf8"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Proxy is what one Envoy is meant to do.
type Proxy struct {
	// ID is the identity that Envoy asks the SPIRE agent for, by name.
	ID spiffeid.ID
	// SVIDTTL is the life of its certificates; it bounds the life of connections. At least 2 s.
	SVIDTTL time.Duration
	// AgentSocket is the path of the SPIRE agent's Workload API socket in Envoy's container.
	AgentSocket string
	// Inbound and Upstreams: at least one of either.
	Inbound   []Inbound
	Upstreams []Upstream
}

// Inbound is a port on all addresses that speaks mutual TLS with Peers, and hands their requests to the
// app at 127.0.0.1:App.
type Inbound struct {
	Listen, App uint16
	// Peers may call; never empty, because to Envoy an empty list means everyone.
	Peers []Peer
	// Protocol is what the app speaks: HTTP (callers may use HTTP/1.1 or HTTP/2 all the same), HTTP2
	// or GRPC. TCP is refused as long as a removed peer's open connection could not be ended.
	Protocol Protocol
}

// Upstream is a port on 127.0.0.1 where the app speaks without TLS, and Envoy carries it over mutual TLS
// to Address.
type Upstream struct {
	Listen  uint16
	Address Address
	// Peers are the identities that the other side may have; never empty.
	Peers []Peer
	// Protocol is what the app speaks, and what Envoy speaks to Address.
	Protocol Protocol
}

// maxSocketPath is what fits a Unix socket address on Linux, without its final zero byte.
const maxSocketPath = 107

// validate returns every mistake, joined.
func (p Proxy) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if p.ID.IsZero() || p.ID.Path() == "" {
		add("proxy: expected a SPIFFE ID with a path, got %q", p.ID.String())
	}
	if p.SVIDTTL < 2*time.Second {
		add("proxy: expected an SVID TTL of at least 2s, got %s", p.SVIDTTL)
	}
	if !path.IsAbs(p.AgentSocket) || !utf8.ValidString(p.AgentSocket) || len(p.AgentSocket) > maxSocketPath {
		add("proxy: expected the agent socket's absolute path in at most %d bytes, got %q", maxSocketPath, p.AgentSocket)
	}
	if len(p.Inbound) == 0 && len(p.Upstreams) == 0 {
		add("proxy: expected at least one inbound port or one upstream, got none")
	}

	taken := map[uint16]string{AdminPort: "the admin interface", ReadinessPort: "the readiness endpoint"}
	take := func(port uint16, by string) {
		switch owner, ok := taken[port]; {
		case port == 0:
			add("%s: expected a listen port from 1 to 65535, got 0", by)
		case ok:
			add("%s: port %d is already taken by %s", by, port, owner)
		default:
			taken[port] = by
		}
	}
	for i, in := range p.Inbound {
		take(in.Listen, fmt.Sprintf("inbound %d (listen %d)", i+1, in.Listen))
	}
	for i, up := range p.Upstreams {
		take(up.Listen, fmt.Sprintf("upstream %d (listen %d)", i+1, up.Listen))
	}

	speaks := map[uint16]Protocol{}
	for i, in := range p.Inbound {
		where := fmt.Sprintf("inbound %d (listen %d)", i+1, in.Listen)
		if owner, ok := taken[in.App]; ok {
			// Forwarding there would be a loop, or open the admin interface to callers.
			add("%s: expected the app's own port, but %d belongs to %s", where, in.App, owner)
		} else if in.App == 0 {
			add("%s: expected an app port from 1 to 65535, got 0", where)
		}
		if !in.Protocol.valid() || in.Protocol == TCP {
			add("%s: expected protocol %s, %s or %s, got %s", where, HTTP, HTTP2, GRPC, in.Protocol)
		}
		if earlier, ok := speaks[in.App]; ok && earlier != in.Protocol {
			add("%s: expected protocol %s for app port %d as in an earlier inbound, got %s", where, earlier, in.App, in.Protocol)
		}
		speaks[in.App] = in.Protocol
		errs = append(errs, peersError(where, in.Peers))
	}
	for i, up := range p.Upstreams {
		where := fmt.Sprintf("upstream %d (listen %d)", i+1, up.Listen)
		if up.Address == (Address{}) {
			add("%s: expected an address, got none", where)
		}
		if !up.Protocol.valid() {
			add("%s: expected a known protocol, got %s", where, up.Protocol)
		}
		errs = append(errs, peersError(where, up.Peers))
	}
	return errors.Join(errs...)
}

// peersError refuses lists that Envoy would take to mean everyone.
func peersError(where string, peers []Peer) error {
	if len(peers) == 0 {
		return fmt.Errorf("%s: expected at least one peer, got none; \"/*\" allows the whole trust domain", where)
	}
	for i, peer := range peers {
		if peer.isZero() {
			return fmt.Errorf("%s: peer %d was not made by ParsePeer", where, i+1)
		}
	}
	return nil
}
