package templates

import (
	"time"

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
	// Probes are the kubelet's questions to the app that Envoy answers or passes on.
	Probes []Probe
	// Metrics is where statistics can be read; the zero value is nowhere.
	Metrics Metrics
	// Drain is how long a pod of the mesh still serves after its deletion has begun. HTTP connections to peers end after a
	// third of it at the latest, so that none is still in use when a peer ends. Zero leaves them alone.
	Drain time.Duration
}

// Inbound is a port on all addresses that serves Peers, and hands their requests to the app at 127.0.0.1:App.
type Inbound struct {
	Listen uint16
	// App is zero in a gateway, which forwards by the Match of the upstreams.
	App uint16
	// Peers may call. Never empty, because to Envoy an empty list means everyone; where nobody shows an identity, as with TLS
	// None, there are none.
	Peers []Peer
	// Protocol is what the app speaks: HTTP (callers may use HTTP/1.1 or HTTP/2 all the same), HTTP2, GRPC or TCP. A
	// gateway has no TCP.
	Protocol Protocol
	TLS      TLSMode
	// Clients says what callers show with TLS Mutual; with the other modes it is Required. Where they are NotAsked there are no Peers.
	Clients ClientCertificate
	// Certificate says that callers are shown the certificate in [CertificateDir] instead of the SVID.
	Certificate bool
	// Forwarded are the clients on whose behalf Peers, all of them gateways, may call, by naming each in
	// X-Forwarded-Client-Cert. The app sees both. None means that Peers call for themselves.
	Forwarded []Peer
	Limits    Limits
	// Audit lets every peer of a trusted domain in, and says in the log and in a statistic which requests or connections
	// Peers would have refused. It has no meaning with TLS None.
	Audit bool
	// JWT is what each request has to carry beside, or on a port without TLS instead of, a certificate. Not with TCP.
	JWT JWT
}

// Upstream is another service behind mutual TLS at Address. It has either Listen or Match.
type Upstream struct {
	// Listen is a port on 127.0.0.1 where the app speaks without TLS.
	Listen uint16
	// Match is the part of a gateway's requests that goes to Address.
	Match   Match
	Address Address
	// Peers are the identities that the other side may have: never empty, all of one trust domain.
	Peers []Peer
	// Protocol is what Envoy speaks to Address, and what the app speaks on Listen.
	Protocol Protocol
	// JWTAudience is for whom each request gets a JWT-SVID, in place of the app's own header Authorization; empty for none. Not
	// with TCP.
	JWTAudience string
}
