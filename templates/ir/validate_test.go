package ir

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

// sidecar breaks no rule.
func sidecar(t *testing.T) Proxy {
	return Proxy{
		ID:          spiffeid.RequireFromPath(exampleOrg, "/api"),
		SVIDTTL:     time.Hour,
		AgentSocket: "/run/spire/sockets/agent.sock",
		Inbound:     []Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/web")}},
		Upstreams:   []Upstream{{Listen: 8000, Address: address(t, "api:1"), Peers: peers(t, "/api")}},
		AppPorts:    []AppPort{{Container: "app", Port: 8080}},
		Probes: []Probe{
			{Listen: ProbePort, Path: "/a", App: 8080, Target: "/healthz?x=%20"},
			{Listen: FirstGRPCProbePort, App: 8080, Kind: ProbeGRPC},
		},
		Metrics: Metrics{Port: 15090, Include: []string{"http."}},
	}
}

// gateway breaks no rule.
func gateway(t *testing.T) Proxy {
	p := sidecar(t)
	p.Gateway, p.AppPorts, p.Probes = true, nil, nil
	p.Inbound[0].App = 0
	p.Upstreams[0].Listen, p.Upstreams[0].Match = 0, match(t, "/")
	return p
}

// TestRules breaks each rule by itself.
func TestRules(t *testing.T) {
	foreign := []string{"/web", "spiffe://auxiliary.org/web"}
	tests := []struct {
		code  Code
		of    func(*testing.T) Proxy
		spoil func(*Proxy)
		want  string // path and text
	}{
		{IDMissing, sidecar, func(p *Proxy) { p.ID = spiffeid.ID{} }, `id: expected a SPIFFE ID with a path, got ""`},
		{IDMissing, sidecar, func(p *Proxy) { p.ID = exampleOrg.ID() }, `id: expected a SPIFFE ID with a path, got "spiffe://example.org"`},
		{TTLTooShort, sidecar, func(p *Proxy) { p.SVIDTTL = 2*time.Second - 1 }, `svidTTL: expected an SVID TTL of at least 2s, got 1.999999999s`},
		{SocketPath, sidecar, func(p *Proxy) { p.AgentSocket = "agent.sock" },
			`agentSocket: expected the agent socket's absolute path in at most 107 bytes, got "agent.sock"`},
		{SocketPath, sidecar, func(p *Proxy) { p.AgentSocket = "/" + strings.Repeat("s", 107) },
			`agentSocket: expected the agent socket's absolute path in at most 107 bytes, got "/` + strings.Repeat("s", 107) + `"`},
		{SocketPath, sidecar, func(p *Proxy) { p.AgentSocket = "/\xff" },
			`agentSocket: expected the agent socket's absolute path in at most 107 bytes, got "/\xff"`},
		{MemoryTooSmall, sidecar, func(p *Proxy) { p.MemoryLimit = MinMemoryLimit - 1 },
			`memoryLimit: expected a memory limit of at least 48Mi for Envoy, or none, got 50331647 bytes`},
		{UnknownValue, sidecar, func(p *Proxy) { p.IPFamily = 3 }, `ipFamily: expected a known family of IP addresses, got ipFamily(3)`},
		{DrainNegative, sidecar, func(p *Proxy) { p.Drain = -1 }, `drain: expected a drain time of 0s or more, got -1ns`},
		{NothingToDo, sidecar, func(p *Proxy) { p.Inbound, p.Upstreams = nil, nil },
			`expected an inbound listener, an upstream or both, got neither: the sidecar would have nothing to do`},
		{GatewayIncomplete, gateway, func(p *Proxy) { p.Inbound = nil },
			`expected inbound and upstreams for a gateway: where it listens, and where requests go`},
		{GatewayIncomplete, gateway, func(p *Proxy) { p.Upstreams = nil },
			`expected inbound and upstreams for a gateway: where it listens, and where requests go`},
		{StatisticName, sidecar, func(p *Proxy) { p.Metrics.Include = []string{"http.", ""} },
			`metrics.include[1]: expected the beginning of a statistic's name in printable ASCII, got ""`},
		{CollectorMissing, sidecar, func(p *Proxy) { p.Tracing.Percent = 1 },
			`tracing.collector: expected host:port such as "collector.tracing.svc:4317", got none`},
		{SamplingRange, sidecar, func(p *Proxy) { p.Tracing = Tracing{Collector: p.Upstreams[0].Address, Percent: 100.5} },
			`tracing.percent: expected 0 to 100 percent, got 100.5`},
		{SamplingRange, sidecar, func(p *Proxy) { p.Tracing = Tracing{Collector: p.Upstreams[0].Address, Percent: math.NaN()} },
			`tracing.percent: expected 0 to 100 percent, got NaN`},
		{PeerZero, sidecar, func(p *Proxy) { p.Tracing = Tracing{Collector: p.Upstreams[0].Address, Peers: []Peer{{}}} },
			`tracing.peers: expected peers that ParsePeer made, got the zero value`},
		{SeveralDomains, sidecar, func(p *Proxy) { p.Tracing = Tracing{Collector: p.Upstreams[0].Address, Peers: peers(t, foreign...)} },
			`tracing.peers: expected peers of one trust domain, got example.org and auxiliary.org`},

		{PortTaken, sidecar, func(p *Proxy) { p.Inbound[0].Listen = 15000 },
			`inbound[0].listen: port 15000 is already used by the sidecar's admin interface; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams[0].Listen = 15021 },
			`upstreams[0].listen: port 15021 is already used by the sidecar's readiness endpoint; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams[0].Listen = 8443 },
			`upstreams[0].listen: port 8443 is already used by the inbound listener; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams[0].Listen = 8080 },
			`upstreams[0].listen: port 8080 is already used by container app; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams[0].Listen = ProbePort },
			`upstreams[0].listen: port 15022 is already used by the sidecar, for the kubelet's probes; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams = append(p.Upstreams, p.Upstreams[0]) },
			`upstreams[1].listen: port 8000 is already used by upstream 0; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Upstreams[0].JWTAudience, p.Upstreams[0].Listen = "a", JWTProbePort },
			`upstreams[0].listen: port 15023 is already used by the sidecar, for the kubelet's probes; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.AppPorts[0].Port = 15000 },
			`appPorts[0]: port 15000 is used by the sidecar's admin interface; let the app listen on another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Metrics.Port = 15021 },
			`metrics.port: port 15021 is already used by the sidecar's readiness endpoint; choose another port`},
		{PortTaken, sidecar, func(p *Proxy) { p.Probes = append(p.Probes, p.Probes[1]) },
			`probes[2].listen: port 15030 is already used by the sidecar, for the kubelet's probes; choose another port`},
		{ListenMissing, sidecar, func(p *Proxy) { p.Inbound[0].Listen = 0 },
			`inbound[0].listen: expected the port that callers use, from 1 to 65535, got none`},
		{ListenMissing, sidecar, func(p *Proxy) { p.Upstreams[0].Listen = 0 },
			`upstreams[0].listen: expected the port on 127.0.0.1 that the app talks to, from 1 to 65535, got none`},
		{AppMissing, sidecar, func(p *Proxy) { p.Inbound[0].App = 0 },
			`inbound[0].app: expected the port on which the app listens on localhost, from 1 to 65535, got none`},
		{AppMissing, sidecar, func(p *Proxy) { p.Probes[0].App = 0 }, `probes[0].app: expected an app port from 1 to 65535, got none`},
		{AppOfGateway, gateway, func(p *Proxy) { p.Inbound[0].App = 8080 }, `inbound[0].app: a gateway has no app; its requests go where upstreams say`},
		{AppIsSidecar, sidecar, func(p *Proxy) { p.Inbound[0].App = 8443 },
			`inbound[0].app: port 8443 is the sidecar's own inbound port; let the app listen on another port`},
		{AppIsSidecar, sidecar, func(p *Proxy) { p.Inbound[0].App = 15000 },
			`inbound[0].app: expected a port of the app, but port 15000 is used by the sidecar's admin interface; let the app listen on another port`},
		{AppIsSidecar, sidecar, func(p *Proxy) { p.Inbound[0].App = 8000 },
			`inbound[0].app: expected a port of the app, but port 8000 is used by upstream 0; let the app listen on another port`},
		{AppIsSidecar, sidecar, func(p *Proxy) { p.Probes[0].App = 8443 },
			`probes[0].app: expected a port of the app, but port 8443 is used by the inbound listener; probe the port on which the app itself listens`},
		{AppAddress, sidecar, func(p *Proxy) { p.Inbound[0].AppHost = "10.0.0.7" },
			`inbound[0].app: expected an address of loopback or podIP with a port, got "10.0.0.7"`},
		{AppAddress, gateway, func(p *Proxy) { p.Inbound[0].AppHost = PodIP },
			`inbound[0].app: expected an address of loopback or podIP with a port, got "podIP"`},
		{AppAddress, sidecar, func(p *Proxy) { p.Probes[0].AppHost = PodIP }, `probes[0].app: expected an app on loopback, got "podIP"`},
		{AppAddress, sidecar, func(p *Proxy) {
			p.Captured, p.Probes[0].AppHost, p.Probes[0].Kind, p.Probes[0].Target = true, PodIP, ProbeTCP, ""
		}, `probes[0].app: expected an app on loopback, got "podIP"`},
		{AppAddress, sidecar, func(p *Proxy) { p.Probes[0].AppHost = "10.0.0.7" }, `probes[0].app: expected an app on loopback, got "10.0.0.7"`},
		{AppAddresses, sidecar, func(p *Proxy) {
			p.Inbound = append(p.Inbound, p.Inbound[0])
			p.Inbound[1].Listen, p.Inbound[1].AppHost = 8444, "::1"
		}, `inbound[1].app: expected 127.0.0.1:8080, as in an earlier listener, got [::1]:8080`},
		{AppProtocols, sidecar, func(p *Proxy) {
			p.Inbound = append(p.Inbound, Inbound{Listen: 8444, App: 8080, Peers: p.Inbound[0].Peers, Protocol: GRPC})
		}, `inbound[1].app: expected protocol http for the app's port 8080, as in an earlier listener, got grpc`},
		{PortTaken, sidecar, func(p *Proxy) { p.Captured, p.Upstreams[0].Listen = true, CapturePort },
			`upstreams[0].listen: port 15025 is already used by the sidecar, for the rules that capture connections; choose another port`},
		{CaptureOfGateway, gateway, func(p *Proxy) { p.Captured = true }, `captured: a gateway has no app whose ports could be captured`},
		{CapturedTwice, sidecar, func(p *Proxy) {
			p.Captured, p.Inbound = true, append(p.Inbound, p.Inbound[0])
			p.Inbound[1].Listen = 8444
		}, `inbound[1].app: expected one listener for each port of the app, to which its callers are led, got another one for 8080 beside 8443: remove one of both`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Inbound[0].Protocol = -1 }, `inbound[0].protocol: expected a known protocol, got protocol(-1)`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Inbound[0].TLS = 3 }, `inbound[0].tls: expected a known TLS mode, got tls(3)`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Inbound[0].Clients = 3 },
			`inbound[0].clientCertificate: expected a known client certificate mode, got clientCertificate(3)`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Upstreams[0].Protocol = 7 }, `upstreams[0].protocol: expected a known protocol, got protocol(7)`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Probes[0].Kind = 4 }, `probes[0].kind: expected a known kind, got probe(4)`},
		{TCPRoutes, gateway, func(p *Proxy) { p.Inbound[0].Protocol = TCP },
			`inbound[0].protocol: expected http, http2 or grpc at a gateway, which routes by host and path, got tcp`},
		{TCPRoutes, gateway, func(p *Proxy) { p.Upstreams[0].Protocol = TCP },
			`upstreams[0].protocol: expected http, http2 or grpc at a gateway, which routes by host and path, got tcp`},

		{PeersMissing, sidecar, func(p *Proxy) { p.Inbound[0].Peers = nil },
			`inbound[0].peers: expected at least one peer, got none; "/*" allows the whole trust domain`},
		{PeersMissing, sidecar, func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = Request, nil },
			`inbound[0].peers: expected at least one peer, got none; "/*" allows the whole trust domain`},
		{PeersMissing, sidecar, func(p *Proxy) { p.Upstreams[0].Peers = nil },
			`upstreams[0].peers: expected at least one peer, got none; "/*" allows the whole trust domain`},
		{PeersUnused, sidecar, func(p *Proxy) { p.Inbound[0].TLS = None },
			`inbound[0].peers: has no effect without TLS, where nobody presents a certificate: remove peers, or use tls: mutual or permissive`},
		{PeersUnused, sidecar, func(p *Proxy) { p.Inbound[0].TLS, p.Inbound[0].Peers = None, []Peer{} },
			`inbound[0].peers: has no effect without TLS, where nobody presents a certificate: remove peers, or use tls: mutual or permissive`},
		{PeersUnused, sidecar, func(p *Proxy) {
			p.Inbound[0].Clients, p.Inbound[0].JWT = NoRequest, JWT{[]string{"a"}, p.Inbound[0].Peers}
		}, `inbound[0].peers: has no effect with clientCertificate: none, where nobody presents a certificate: remove peers, ` +
			`or use required or optional; whose tokens pass is in jwt.subjects`},
		{PeerZero, sidecar, func(p *Proxy) { p.Inbound[0].Peers = []Peer{{}} },
			`inbound[0].peers: expected peers that ParsePeer made, got the zero value`},
		{PeerZero, sidecar, func(p *Proxy) { p.Inbound[0].Forwarded = []Peer{{}} },
			`inbound[0].forwardedClients: expected peers that ParsePeer made, got the zero value`},
		{PeerZero, sidecar, func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{"a"}, []Peer{{}}} },
			`inbound[0].jwt.subjects: expected peers that ParsePeer made, got the zero value`},
		{PeerZero, sidecar, func(p *Proxy) { p.Upstreams[0].Peers = []Peer{{}} },
			`upstreams[0].peers: expected peers that ParsePeer made, got the zero value`},
		{SeveralDomains, sidecar, func(p *Proxy) { p.Upstreams[0].Peers = peers(t, foreign...) },
			`upstreams[0].peers: expected peers of one trust domain, got example.org and auxiliary.org: write an upstream for each`},
		{SeveralDomains, sidecar, func(p *Proxy) {
			p.Inbound[0].Peers = peers(t, foreign...)
			p.Inbound = append(p.Inbound, Inbound{Listen: 8444, App: 8080, Clients: Request, Peers: peers(t, "/web")})
		}, `inbound[0].peers: expected peers of one trust domain in a pod with clientCertificate: optional, got example.org and auxiliary.org: ` +
			`write a listener for each`},
		{ClientsWithTLS, sidecar, func(p *Proxy) { p.Inbound[0].TLS, p.Inbound[0].Clients = Permissive, Request },
			`inbound[0].clientCertificate: has no effect with tls: permissive, where certificates come with mutual TLS or not at all: remove one of both`},
		{ClientsWithTLS, sidecar, func(p *Proxy) { p.Inbound[0] = Inbound{Listen: 8443, App: 8080, TLS: None, Clients: NoRequest} },
			`inbound[0].clientCertificate: has no effect with tls: none, where certificates come with mutual TLS or not at all: remove one of both`},
		{RequestWithTCP, sidecar, func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].Protocol = Request, TCP },
			`inbound[0].clientCertificate: expected required or none with protocol tcp, got optional: a denial takes an answer`},
		{RequestAudited, sidecar, func(p *Proxy) {
			p.Inbound[0].Audit = true
			p.Inbound = append(p.Inbound, Inbound{Listen: 8444, App: 8080, Clients: Request, Peers: peers(t, "/web")})
		}, `inbound[1].clientCertificate: optional is not possible where peers are audited: write required or none, or enforce`},
		{CertificateNoTLS, sidecar, func(p *Proxy) { p.Inbound[0] = Inbound{Listen: 8443, App: 8080, TLS: None, Certificate: true} },
			`inbound[0].certificate: has no effect with tls: none: remove one of both`},

		{PeerZero, sidecar, func(p *Proxy) { p.Inbound[0].Rules = []Rule{{Item: 1, Methods: []string{"GET"}}} },
			`inbound[0].peers[1]: expected peers that ParsePeer made, got the zero value`},
		{PeersUnused, sidecar, func(p *Proxy) {
			p.Inbound[0].TLS, p.Inbound[0].Peers, p.Inbound[0].Rules = None, nil, rules(t, Rule{Methods: []string{"GET"}})
		}, `inbound[0].peers: has no effect without TLS, where nobody presents a certificate: remove peers, or use tls: mutual or permissive`},
		{RuleWithTCP, sidecar, func(p *Proxy) {
			p.Inbound[0].Protocol, p.Inbound[0].Rules = TCP, rules(t, Rule{Methods: []string{"GET"}})
		},
			`inbound[0].peers[1]: expected protocol http, http2 or grpc, whose requests have a method and a path, got tcp: write the ID alone`},
		{RuleWithRequest, sidecar, func(p *Proxy) {
			p.Inbound[0].Clients, p.Inbound[0].Rules = Request, rules(t, Rule{Methods: []string{"GET"}})
		},
			`inbound[0].peers[1]: has no effect with clientCertificate: optional, where who presents no certificate may ask for everything: ` +
				`write the ID alone, or clientCertificate: required`},
		{RuleOrder, sidecar, func(p *Proxy) {
			p.Inbound[0].Rules = append(rules(t, Rule{Methods: []string{"GET"}}), rules(t, Rule{Methods: []string{"PUT"}})...)
		}, `inbound[0].peers[1]: expected rules in the order of their items, each once, got 1 after 1`},
		{RuleUnused, sidecar, func(p *Proxy) {
			p.Inbound[0].Peers, p.Inbound[0].Rules = peers(t, "/*"), rules(t, Rule{Methods: []string{"GET"}})
		},
			`inbound[0].peers[1]: has no effect: spiffe://example.org/* is in the list too and may ask for everything, and what one item ` +
				`allows no other takes away: remove one of both`},
		{RuleEmpty, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{}) },
			`inbound[0].peers[1]: expected methods, paths or both, got neither`},
		{RuleEmpty, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{Methods: []string{}}) },
			`inbound[0].peers[1].methods: expected at least one method, got an empty list; without methods all are meant`},
		{RuleEmpty, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{Paths: []Path{}}) },
			`inbound[0].peers[1].paths: expected at least one path, got an empty list; without paths all are meant`},
		{RuleEmpty, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{Paths: paths(t, "/v1", "/*")}) },
			`inbound[0].peers[1].paths: expected paths that leave some out, got "/*"; without paths all are meant`},
		{MethodSpelling, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{Methods: []string{"GET", "get"}}) },
			`inbound[0].peers[1].methods: method "get": expected a method such as GET in upper case, at most 32 bytes`},
		{PathZero, sidecar, func(p *Proxy) { p.Inbound[0].Rules = rules(t, Rule{Paths: []Path{{}}}) },
			`inbound[0].peers[1].paths: expected paths that ParsePath made, got the zero value`},
		{TooManyRules, sidecar, func(p *Proxy) {
			for i := range maxRules + 1 {
				p.Inbound[0].Rules = append(p.Inbound[0].Rules, Rule{Item: i})
			}
		}, `inbound[0].peers[64]: expected at most 64 peers with methods or paths in all of a pod, with at most 512 methods and paths, ` +
			`got more: use prefixes such as "/v1/*"`},
		{TooManyRules, sidecar, func(p *Proxy) {
			p.Inbound[0].Rules = rules(t, Rule{Methods: slices.Repeat([]string{"x"}, maxRuleValues+1)})
		},
			`inbound[0].peers[1]: expected at most 64 peers with methods or paths in all of a pod, with at most 512 methods and paths, ` +
				`got more: use prefixes such as "/v1/*"`},
		{UnknownValue, sidecar, func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].MinTLS = Request, 2 },
			`inbound[0].minTLSVersion: expected a known TLS version, got minTLSVersion(2)`},
		{OldTLSMutual, sidecar, func(p *Proxy) { p.Inbound[0].MinTLS = TLS12 },
			`inbound[0].minTLSVersion: expected 1.3 where callers need a certificate of the mesh, got 1.2: ` +
				`remove it, or use clientCertificate: optional or none`},
		{OldTLSMutual, sidecar, func(p *Proxy) { p.Inbound[0].TLS, p.Inbound[0].MinTLS = Permissive, TLS12 },
			`inbound[0].minTLSVersion: expected 1.3 where callers need a certificate of the mesh, got 1.2: ` +
				`remove it, or use clientCertificate: optional or none`},
		{OldTLSMutual, sidecar, func(p *Proxy) { p.Inbound[0] = Inbound{Listen: 8443, App: 8080, TLS: None, MinTLS: TLS12} },
			`inbound[0].minTLSVersion: has no effect with tls: none: remove one of both`},
		{ForwardedMissing, sidecar, func(p *Proxy) { p.Inbound[0].Forwarded = []Peer{} },
			`inbound[0].forwardedClients: expected at least one client, got an empty list: remove it where peers call for themselves`},
		{ForwardedPublic, sidecar, func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].Forwarded = Request, peers(t, "/web") },
			`inbound[0].forwardedClients: has no effect where callers may come without a certificate, who could name any client: ` +
				`remove it, or use tls: mutual and clientCertificate: required`},
		{ForwardedTCP, sidecar, func(p *Proxy) { p.Inbound[0].Protocol, p.Inbound[0].Forwarded = TCP, peers(t, "/web") },
			`inbound[0].forwardedClients: expected protocol http, http2 or grpc, whose requests name the client in a header, got tcp`},
		{ForwardedAudited, sidecar, func(p *Proxy) { p.Inbound[0].Audit, p.Inbound[0].Forwarded = true, peers(t, "/web") },
			`inbound[0].forwardedClients: is not possible where peers are audited: others than the gateways are let in, who could name any client`},

		{JWTWithTCP, sidecar, func(p *Proxy) { p.Inbound[0].Protocol, p.Inbound[0].JWT = TCP, JWT{[]string{"a"}, peers(t, "/web")} },
			`inbound[0].jwt: tokens are for requests, expected protocol http, http2 or grpc, got tcp: remove jwt`},
		{JWTWithTCP, sidecar, func(p *Proxy) { p.Upstreams[0].Protocol, p.Upstreams[0].JWTAudience = TCP, "a" },
			`upstreams[0].jwt: tokens are for requests, expected protocol http, http2 or grpc, got tcp: remove jwt`},
		{AudienceMissing, sidecar, func(p *Proxy) { p.Inbound[0].JWT.Subjects = peers(t, "/web") },
			`inbound[0].jwt.audiences: expected at least one audience, got none; without audiences it is the pod's own SPIFFE ID`},
		{AudienceMissing, sidecar, func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{}, peers(t, "/web")} },
			`inbound[0].jwt.audiences: expected at least one audience, got none; without audiences it is the pod's own SPIFFE ID`},
		{AudienceSpelling, sidecar, func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{"a", "a b"}, peers(t, "/web")} },
			`inbound[0].jwt.audiences: expected audiences in printable ASCII, got "a b"`},
		{AudienceSpelling, sidecar, func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{""}, peers(t, "/web")} },
			`inbound[0].jwt.audiences: expected audiences in printable ASCII, got ""`},
		{AudienceSpelling, sidecar, func(p *Proxy) { p.Upstreams[0].JWTAudience = "a\n" },
			`upstreams[0].jwt.audience: expected audiences in printable ASCII, got "a\n"`},
		{SubjectsMissing, sidecar, func(p *Proxy) { p.Inbound[0].JWT.Audiences = []string{"a"} },
			`inbound[0].jwt.subjects: expected at least one subject that may call, got none; "/*" stands for the whole trust domain`},

		{TrustedTooMany, gateway, func(p *Proxy) { p.Inbound[0] = Inbound{Listen: 8443, TLS: None, TrustedProxies: 17} },
			`inbound[0].trustedProxies: expected 0 to 16, got 17`},
		{TrustedOnPublic, gateway, func(p *Proxy) { p.Inbound[0].TrustedProxies = 1 },
			`inbound[0].trustedProxies: has no effect where callers are peers, which are believed: remove it, or use tls: none or clientCertificate: none`},
		{TrustedWithTCP, sidecar, func(p *Proxy) {
			p.Inbound[0] = Inbound{Listen: 8443, App: 8080, TLS: None, Protocol: TCP, TrustedProxies: 1}
		}, `inbound[0].trustedProxies: has no effect with protocol tcp, which has no headers: remove it`},
		{LimitNegative, sidecar, func(p *Proxy) { p.Inbound[0].Limits.RequestTimeout = -1 }, `inbound[0].limits.requestTimeout: expected 0s or more, got -1ns`},
		{LimitNegative, sidecar, func(p *Proxy) { p.Inbound[0].Limits.StreamIdleTimeout = -1 }, `inbound[0].limits.streamIdleTimeout: expected 0s or more, got -1ns`},
		{LimitNegative, sidecar, func(p *Proxy) { p.Inbound[0].Limits.IdleTimeout = -1 }, `inbound[0].limits.idleTimeout: expected 0s or more, got -1ns`},
		{LimitWithTCP, sidecar, func(p *Proxy) { p.Inbound[0].Protocol, p.Inbound[0].Limits.MaxRequestBytes = TCP, 1 },
			`inbound[0].limits.maxRequestBytes: has no effect with protocol tcp, which has no requests: remove it`},
		{LimitWithTCP, sidecar, func(p *Proxy) { p.Inbound[0].Protocol, p.Inbound[0].Limits.RequestTimeout = TCP, 1 },
			`inbound[0].limits.requestTimeout: has no effect with protocol tcp, which has no requests: remove it`},
		{LimitWithTCP, sidecar, func(p *Proxy) { p.Inbound[0].Protocol, p.Inbound[0].Limits.StreamIdleTimeout = TCP, 1 },
			`inbound[0].limits.streamIdleTimeout: has no effect with protocol tcp, which has no requests: remove it`},

		{ListenOfGateway, gateway, func(p *Proxy) { p.Upstreams[0].Listen = 8000 },
			`upstreams[0].listen: a gateway has no app that could talk to it: its ports are in inbound, remove listen`},
		{MatchMissing, gateway, func(p *Proxy) { p.Upstreams[0].Match = Match{} },
			`upstreams[0].match: expected the host and path of the requests that go there, such as "/api" or "api.example.org/", got none`},
		{MatchNoGateway, sidecar, func(p *Proxy) { p.Upstreams[0].Match = match(t, "/") },
			`upstreams[0].match: is for gateways, which route requests by host and path: remove match`},
		{MatchTwice, gateway, func(p *Proxy) { p.Upstreams = append(p.Upstreams, p.Upstreams[0]) }, `upstreams[1].match: / is matched already by [0]`},
		{AddressMissing, sidecar, func(p *Proxy) { p.Upstreams[0].Address = Address{} },
			`upstreams[0].address: expected host:port such as "api.default.svc:8443", got none; ` +
				`or a name in listen that says it too, such as "api:8443"`},

		{HostSpelling, sidecar, func(p *Proxy) { p.Upstreams[0].Host = "http://x" },
			`upstreams[0].host: expected a Host such as "api.example.org" or "api.example.org:8443", got "http://x": "//x" is no port`},
		{HostWithTCP, sidecar, func(p *Proxy) { p.Upstreams[0].Protocol, p.Upstreams[0].Host = TCP, "x" },
			`upstreams[0].host: has no effect with protocol tcp, which has no Host: remove it`},

		{ProbePath, sidecar, func(p *Proxy) { p.Probes[0].Path = "b" },
			`probes[0].path: expected a path that begins with a slash, in printable ASCII without a query, got "b"`},
		{ProbePath, sidecar, func(p *Proxy) { p.Probes[0].Path = "/b?c" },
			`probes[0].path: expected a path that begins with a slash, in printable ASCII without a query, got "/b?c"`},
		{ProbePath, sidecar, func(p *Proxy) { p.Probes[1].Path = "/d" }, `probes[1].path: expected no path of a gRPC probe, got "/d"`},
		{ProbeTarget, sidecar, func(p *Proxy) { p.Probes[0].Target = "/ healthz" },
			`probes[0].target: expected a target that begins with a slash, in printable ASCII, got "/ healthz"`},
		{ProbeTarget, sidecar, func(p *Proxy) { p.Probes[0].Target = "/#a" },
			`probes[0].target: expected a target that begins with a slash, in printable ASCII, got "/#a"`},
		{ProbeTarget, sidecar, func(p *Proxy) { p.Probes[1].Target = "/x" }, `probes[1].target: expected no target of a gRPC probe, got "/x"`},
		{ProbeTwice, sidecar, func(p *Proxy) { p.Probes = append(p.Probes, p.Probes[0]) }, `probes[2].path: path "/a" is already taken by an earlier probe`},
	}
	for _, row := range serverRules(t) {
		tests = append(tests, row)
	}
	tests = append(tests, nameRules()...)
	tests = append(tests, resilienceRules()...)
	broken := map[Code]bool{}
	for _, test := range tests {
		p := test.of(t)
		if problems := p.Validate(); len(problems) > 0 {
			t.Fatalf("before it is broken: %v", problems)
		}
		test.spoil(&p)
		broken[test.code] = true
		got := p.Validate()
		if len(got) != 1 || got[0].Code != test.code || got[0].String() != test.want {
			t.Errorf("got %v\nwant %s: %s", got, test.code, test.want)
		}
	}
	for _, code := range Codes() {
		if !broken[code] {
			t.Errorf("nothing breaks the rule %s", code)
		}
	}
}

// TestNoProxy expects all problems of the zero value at once, in the order of the model.
func TestNoProxy(t *testing.T) {
	var got []string
	for _, p := range (Proxy{}).Validate() {
		got = append(got, p.String())
	}
	want := []string{
		`id: expected a SPIFFE ID with a path, got ""`,
		`svidTTL: expected an SVID TTL of at least 2s, got 0s`,
		`agentSocket: expected the agent socket's absolute path in at most 107 bytes, got ""`,
		`expected an inbound listener, an upstream or both, got neither: the sidecar would have nothing to do`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func peers(t *testing.T, texts ...string) []Peer {
	t.Helper()
	out := make([]Peer, len(texts))
	for i, text := range texts {
		peer, err := ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliaryOrg}, text)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = peer
	}
	return out
}

// rules are one for /other, in the second place of the list.
func rules(t *testing.T, rule Rule) []Rule {
	t.Helper()
	rule.Item, rule.Peer = 1, peers(t, "/other")[0]
	return []Rule{rule}
}

func paths(t *testing.T, texts ...string) []Path {
	t.Helper()
	out := make([]Path, len(texts))
	for i, text := range texts {
		path, err := ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = path
	}
	return out
}

func address(t *testing.T, text string) Address {
	t.Helper()
	out, err := ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func match(t *testing.T, text string) Match {
	t.Helper()
	out, err := ParseMatch(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
