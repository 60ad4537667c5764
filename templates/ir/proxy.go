package ir

import (
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Proxy is what one Envoy is meant to do.
type Proxy struct {
	// ID is the identity that Envoy asks the SPIRE agent for, by name.
	ID spiffeid.ID
	// SVIDTTL is the TTL of its X.509-SVID; it bounds how long connections live. At least 2 s.
	SVIDTTL time.Duration
	// UnboundedStreams lets TCP connections, and requests and streams of HTTP that are under way, outlive the certificate
	// that they began with. New requests still get new connections.
	UnboundedStreams bool
	// AgentSocket is the path of the SPIRE agent's Workload API socket in Envoy's container.
	AgentSocket string
	// IPFamily is that of the pod's addresses.
	IPFamily IPFamily
	// ClusterDomain is the domain of the cluster's names in DNS, such as cluster.local; empty where it is not known.
	ClusterDomain string
	// Inbound and Upstreams: at least one of either.
	Inbound   []Inbound
	Upstreams []Upstream
	// Gateway says that there is no app: requests of all inbound ports go where the Match of the upstreams says.
	Gateway bool
	// AppPorts are those that the pod's other containers declare, where Envoy must not listen.
	AppPorts []AppPort
	// Probes are those of the kubelet that Envoy answers or passes on to the app.
	Probes []Probe
	// Metrics is where statistics can be read; the zero value is nowhere.
	Metrics Metrics
	// Tracing is where spans of requests go.
	Tracing Tracing
	// CollectorRefused are quarantined: none of them is taken for the collector. [Proxy.Refuse] sets it.
	CollectorRefused []Peer
	// MemoryLimit is how many bytes of memory Envoy's container may take, after which it sheds load; zero where that is
	// not known. Otherwise at least [MinMemoryLimit].
	MemoryLimit int64
	// Captured says that connections from outside for the app's ports come to its listeners, by the rules of the pod's
	// network, and that other ports are closed. Envoy's configuration is the same.
	Captured bool
	// Drain is how long a pod of the mesh still serves after its deletion has begun. HTTP connections to peers end after a
	// third of it at the latest, so that none is still in use when a peer ends. Zero leaves them alone.
	Drain time.Duration
	// JSONFiles says that the files in which Envoy looks for its configuration have names that end with .json, as in pods
	// that older versions injected: it reads nothing else there.
	JSONFiles bool
	// RestOfNames is the port of 127.0.0.1 to which the rules of a captured pod lead all ports of names that are no
	// upstream's, and from where their bytes go on as those of [Upstream.Passthrough]. Zero without such rules.
	// [Proxy.LeadRestOfNames] sets it.
	RestOfNames uint16
	// TCPDeadlines says that the bootstrap allows what ends a TCP connection with its caller's certificate when that comes
	// before half of SVIDTTL, as in pods whose Envoy was started with a port for which [Inbound.ServesTCPPeers] holds.
	TCPDeadlines bool
}

// AppPort is a port of a container beside Envoy.
type AppPort struct {
	Container string
	Port      uint16
}

// Inbound is a port on all addresses that serves Peers, and hands their requests to the app.
type Inbound struct {
	Listen uint16
	// App is zero in a gateway.
	App uint16
	// AppHost is the address on which it listens.
	AppHost AppHost
	// Peers may call, for every request. Without Rules never empty, because to Envoy an empty list means everyone; where
	// nobody presents a certificate, as with TLS None, there are none.
	Peers []Peer
	// Refused are quarantined: nobody of them may call, whoever admits them. [Proxy.Refuse] sets it.
	Refused []Peer
	// Rules are who else may call, for some requests each. Not with TCP, nor where callers may choose to be nobody.
	Rules []Rule
	// Protocol is what the app speaks: HTTP (callers may use HTTP/1.1 or HTTP/2 all the same), HTTP2, GRPC or TCP. A
	// gateway has no TCP.
	Protocol Protocol
	TLS      TLSMode
	// Clients says what callers present with TLS Mutual; with the other modes it is Require. With NoRequest there are no
	// Peers.
	Clients ClientCertificate
	// MinTLS is the oldest version that callers may speak, on a public port.
	MinTLS TLSVersion
	// Certificate says that Envoy presents the certificate of a Secret instead of the SVID.
	Certificate bool
	// Forwarded are the clients on whose behalf Peers, all of them gateways, may call, by naming each in
	// X-Forwarded-Client-Cert. The app sees both. Nil means that Peers call for themselves.
	Forwarded []Peer
	Limits    Limits
	// Audit lets every peer of a trusted domain in, and says in the log and in a statistic which requests or connections
	// Peers and Rules would have refused. It has no meaning with TLS None.
	Audit bool
	// TrustedProxies is how many proxies before a public port, 0 to 16, are believed when they say in X-Forwarded-For and
	// X-Forwarded-Proto where a request came from. On other ports callers are peers, and it is zero.
	TrustedProxies uint32
	// JWT is what each request has to carry beside, or on a port without TLS instead of, a certificate. Not with TCP.
	JWT JWT
}

// Upstream is another service behind mutual TLS at Address, or one outside the mesh behind TLS. It has either Listen or Match.
type Upstream struct {
	// Listen is a port on 127.0.0.1 where the app speaks without TLS, or one of Name.
	Listen uint16
	// Name is what the app calls; the zero value if it calls 127.0.0.1.
	Name Name
	// Loopback is the address that stands for Name in the pod; empty without one. [Proxy.PlaceNames] sets it.
	Loopback string
	// Behind is the port of 127.0.0.1 on which Envoy listens in the place of Listen at Loopback, where the rules of a captured
	// pod lead there: the app may have Listen on all addresses. Zero without such rules. [Proxy.PlaceNames] sets it.
	Behind uint16
	// Passthrough are further ports of Name, where bytes go as they are, by TCP without TLS, to the same port of Name.
	Passthrough []uint16
	// Match is the part of a gateway's requests that goes to Address.
	Match   Match
	Address Address
	// Peers are the identities that the other side may have: never empty, all of one trust domain. An external Server has
	// none.
	Peers []Peer
	// Refused are quarantined: none of them is taken for the other side. [Proxy.Refuse] sets it.
	Refused []Peer
	Server  Server
	// Protocol is what Envoy speaks to Address, and what the app speaks on Listen.
	Protocol Protocol
	// Host is what each request says in Host, or :authority; empty for what the app wrote, but for a loopback address, in
	// the place of which comes the name in Address. Not with TCP.
	Host string
	// JWTAudience is for whom each request gets a JWT-SVID, in place of the app's own header Authorization; empty for
	// none. Not with TCP.
	JWTAudience string
	Resilience  Resilience
}

// Identifies says whether callers of the port may present who they are.
func (in Inbound) Identifies() bool { return in.TLS != None && in.Clients != NoRequest }

// ServesTCPPeers says whether callers of the port may present who they are, and then speak plain TCP.
func (in Inbound) ServesTCPPeers() bool { return in.Identifies() && in.Protocol == TCP }

// Public says whether callers may come that do not present who they are, for good and not only until a migration has
// ended.
func (in Inbound) Public() bool { return in.TLS == None || in.Clients != Require }

// ChecksRequests says whether requests to the port are authorized one by one.
func (in Inbound) ChecksRequests() bool { return in.Identifies() || !in.JWT.IsZero() }

// Audits says whether requests that would be denied are let in, and told.
func (in Inbound) Audits() bool { return in.Audit && in.ChecksRequests() }

// Verified are the peers that TLS lets in; none means everyone of a trusted domain.
func (in Inbound) Verified() []Peer {
	if in.Audit {
		return nil
	}
	return in.Callers()
}

// RequestsCertificates says whether a port of the proxy takes callers with and without a certificate.
func (p Proxy) RequestsCertificates() bool { return p.request() >= 0 }

// request is the index of the first such port, -1 if there is none.
func (p Proxy) request() int {
	return slices.IndexFunc(p.Inbound, func(in Inbound) bool { return in.TLS == Mutual && in.Clients == Request })
}

// VerifiesJWT says whether any port asks for tokens.
func (p Proxy) VerifiesJWT() bool {
	return slices.ContainsFunc(p.Inbound, func(in Inbound) bool { return !in.JWT.IsZero() })
}

// HasTokens says whether any port asks for tokens, or any upstream gets them.
func (p Proxy) HasTokens() bool {
	return p.VerifiesJWT() || slices.ContainsFunc(p.Upstreams, func(up Upstream) bool { return up.JWTAudience != "" })
}

// UsesCertificate says whether a port presents the Secret's certificate.
func (p Proxy) UsesCertificate() bool {
	return slices.ContainsFunc(p.Inbound, func(in Inbound) bool { return in.Certificate })
}
