package templates

import (
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

// cases are the proxies whose configuration is kept in testdata, one folder each. The tests on the
// generated messages, and those on the real Envoy, run over all of them.
func cases(t *testing.T) map[string]Proxy {
	t.Helper()
	proxy := func(path string, inbound []Inbound, upstreams ...Upstream) Proxy {
		return Proxy{
			ID:          spiffeid.RequireFromPath(exampleOrg, path),
			SVIDTTL:     30 * time.Second,
			AgentSocket: "/run/spire/sockets/agent.sock",
			Inbound:     inbound,
			Upstreams:   upstreams,
		}
	}
	return map[string]Proxy{
		"api": proxy("/api", []Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/valid-api-client")}}),
		"client": proxy("/valid-api-client", nil,
			Upstream{Listen: 8000, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api")}),
		"several": proxy("/ns/prod/sa/web",
			[]Inbound{
				{Listen: 8443, App: 8080, Peers: peers(t, "/ns/prod/*", "/admin")},
				{Listen: 8444, App: 8080, Peers: peers(t, "/*")},
				{Listen: 9443, App: 9090, Peers: peers(t, "/ns/prod/sa/web"), Protocol: GRPC},
			},
			Upstream{Listen: 8000, Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/api", "/ns/prod/*")},
			Upstream{Listen: 8001, Address: address(t, "[2001:db8::7]:8443"), Peers: peers(t, "/api"), Protocol: HTTP2},
			Upstream{Listen: 8002, Address: address(t, "greeter.default.svc.cluster.local.:9443"), Peers: peers(t, "/greeter"), Protocol: GRPC},
		),
		"tcp": withHTTPProbe(proxy("/web",
			[]Inbound{{Listen: 9000, App: 9001, Peers: peers(t, "/client"), Protocol: TCP}},
			Upstream{Listen: 5432, Address: address(t, "db-0.db.default.svc:5432"), Peers: peers(t, "/db"), Protocol: TCP},
		)),
		"migration": proxy("/api", []Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web"), TLS: Permissive},
			{Listen: 8444, App: 8081, Peers: peers(t, "/web", "spiffe://auxiliary.org/web", "/ns/prod/*"), Audit: true},
			{Listen: 9000, App: 9001, Peers: peers(t, "/web"), Protocol: TCP, TLS: Permissive, Audit: true},
			{Listen: 9002, App: 9003, Protocol: TCP, TLS: None},
		}),
		"edge": proxy("/edge", []Inbound{{Listen: 10808, TLS: None}, {Listen: 8443, Peers: peers(t, "spiffe://auxiliary.org/*")}},
			Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")},
			Upstream{Match: match(t, "/api"), Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api"), Protocol: GRPC},
			Upstream{Match: match(t, "api.example.org/"), Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api")},
			Upstream{Match: match(t, "*.example.org/v1"), Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/api")},
		),
		"jwt": proxy("/api", []Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web"), JWT: token(peers(t, "/web", "/ns/prod/*"), "spiffe://example.org/api")},
			{Listen: 8444, App: 8081, Peers: peers(t, "/web"), TLS: Permissive, Audit: true, JWT: token(peers(t, "/web"), "api", "other")},
			{Listen: 8445, App: 8080, TLS: None, JWT: token(peers(t, "/web", "spiffe://auxiliary.org/*"), "api")},
			{Listen: 8446, App: 8080, Peers: peers(t, "/admin")},
		}),
		"jwt-client": proxy("/web", nil,
			Upstream{Listen: 8000, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api"), JWTAudience: "spiffe://example.org/api"},
			Upstream{Listen: 8001, Address: address(t, "greeter.default.svc:9443"), Peers: peers(t, "/greeter"), Protocol: GRPC, JWTAudience: "greeter"},
			Upstream{Listen: 8002, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")}),
		"public": proxy("/edge", []Inbound{
			{Listen: 443, Peers: peers(t, "/shop/*"), Clients: Optional, Certificate: true, Limits: publicLimits()},
			{Listen: 8443, Clients: NotAsked, Certificate: true, Limits: Limits{MaxRequestBytes: 1 << 20}},
			{Listen: 9443, Peers: peers(t, "spiffe://auxiliary.org/*"), Clients: Optional},
			{Listen: 9000, App: 9001, Clients: NotAsked, Protocol: TCP, Limits: Limits{MaxConnections: 1000, IdleTimeout: time.Hour}},
		}, Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")}),
		"jwt-public": longLived(proxy("/edge", []Inbound{
			{Listen: 7443, Peers: peers(t, "/web"), JWT: token(peers(t, "/web"), "spiffe://example.org/edge")},
			{
				Listen:  8443,
				Peers:   peers(t, "/web"),
				Clients: Optional,
				Limits:  publicLimits(),
				JWT:     token(peers(t, "/web", "/team/*"), "spiffe://example.org/edge"),
			},
			{
				Listen:  9443,
				Clients: NotAsked,
				Limits:  limits(1<<20, time.Minute),
				JWT:     token(peers(t, "/web", "spiffe://auxiliary.org/*"), "edge.example.org"),
			},
			{Listen: 9444, Clients: NotAsked, Limits: publicLimits()},
			{Listen: 10808, TLS: None, Limits: publicLimits(), JWT: token(peers(t, "/web"), "edge.example.org")},
		}, Upstream{Match: match(t, "/"), Address: address(t, "api.demo.svc:8443"), Peers: peers(t, "/api"), JWTAudience: "api"})),
		"jwt-server": longLived(proxy("/api", []Inbound{
			{
				Listen: 8443,
				App:    8080,
				Peers:  peers(t, "/edge"),
				JWT:    token(peers(t, "/web", "/ns/prod/*", "spiffe://auxiliary.org/web"), "spiffe://example.org/api"),
			},
			{
				Listen: 8444,
				App:    8081,
				TLS:    None,
				Limits: publicLimits(),
				JWT:    token(peers(t, "/web"), "spiffe://example.org/api", "api.example.org"),
			},
			{Listen: 9443, App: 9090, Peers: peers(t, "/web"), Protocol: GRPC},
		})),
		"gateway": longLived(proxy("/edge", []Inbound{
			{Listen: 7443, Peers: peers(t, "/web"), Limits: limits(0, 0)},
			{Listen: 8080, TLS: None, Limits: publicLimits()},
			{Listen: 8081, TLS: None, Limits: Limits{MaxRequestBytes: 1000, RequestTimeout: time.Minute}},
			{Listen: 8443, Peers: peers(t, "/web"), Protocol: HTTP2},
			{Listen: 9443, Clients: NotAsked, Certificate: true, Limits: limits(1<<20, 0)},
		}, Upstream{Match: match(t, "*.example.org/v1"), Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/team/*")})),
		"mixed": longLived(withOneProbe(proxy("/api", []Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web", "/ns/prod/*", "/*")},
			{Listen: 8444, App: 8081, Peers: peers(t, "/team/*", "spiffe://auxiliary.org/web"), Protocol: HTTP2},
			{Listen: 8445, App: 8080, Peers: peers(t, "/web", "spiffe://auxiliary.org/*")},
			{Listen: 8446, App: 8082, Peers: peers(t, "spiffe://auxiliary.org/*"), Protocol: TCP},
			{Listen: 8447, App: 8080, TLS: None, Limits: publicLimits()},
			{Listen: 8448, App: 8080, Peers: peers(t, "/team/*"), Audit: true},
			{Listen: 8449, App: 8080, Peers: peers(t, "/web"), Audit: true},
		}, Upstream{Listen: 8000, Address: address(t, "api.demo.svc:8443"), Peers: peers(t, "/api", "/team/*")}))),
		"behind-gateway": proxy("/api", []Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/edge"), Forwarded: peers(t, "/web", "spiffe://auxiliary.org/ns/prod/*")},
			{Listen: 8444, App: 8080, Peers: peers(t, "/edge"), TLS: Permissive, Forwarded: peers(t, "/web")},
		}),
		"observed": observed(proxy("/api", []Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/web")}},
			Upstream{Listen: 8000, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")})),
	}
}

// longLived has certificates of an hour, and so connections of half an hour to it, and of a third of the drain time from
// it.
func longLived(p Proxy) Proxy {
	p.SVIDTTL, p.Drain = time.Hour, 10*time.Second
	return p
}

// token is what requests have to carry.
func token(subjects []Peer, audiences ...string) JWT {
	return JWT{Audiences: audiences, Subjects: subjects}
}

// limits are other ones than those of [publicLimits].
func limits(maxRequestBytes uint64, requestTimeout time.Duration) Limits {
	return Limits{
		MaxConnections:    100,
		MaxRequestBytes:   maxRequestBytes,
		RequestTimeout:    requestTimeout,
		StreamIdleTimeout: time.Hour,
		IdleTimeout:       90 * time.Second,
	}
}

// publicLimits are those of a port whose callers are not known.
func publicLimits() Limits { return DefaultLimits(Inbound{TLS: None}) }

// withOneProbe has one probe, and statistics of one kind.
func withOneProbe(p Proxy) Proxy {
	p.Probes = []Probe{{Listen: ProbePort, Path: "/probe/app/liveness", Kind: ProbeTCP, App: 8080}}
	p.Metrics = Metrics{Port: 15095, Include: []string{"http.inbound_"}}
	return p
}

// withHTTPProbe has no other kind of probe.
func withHTTPProbe(p Proxy) Proxy {
	p.Probes = []Probe{{Listen: ProbePort, Path: "/probe/app/liveness", App: 9001, Target: "/live"}}
	return p
}

// observed adds probes of each kind, metrics and a drain time.
func observed(p Proxy) Proxy {
	p.Probes = []Probe{
		{Listen: ProbePort, Path: "/probe/app/startup", Kind: ProbeTCP, App: 8080},
		{Listen: ProbePort, Path: "/probe/app/liveness", App: 8080, Target: `/healthz?full=%20\1`},
		{Listen: ProbePort, Path: "/probe/app/readiness", Kind: ProbeHTTPS, App: 8081, Target: "/ready"},
		{Listen: ProbePort, Path: "/probe/side/readiness", App: 8080, Target: "/"},
		{Listen: FirstGRPCProbePort, Kind: ProbeGRPC, App: 9090},
		{Listen: FirstGRPCProbePort + 1, Kind: ProbeGRPC, App: 9091},
	}
	p.Metrics = Metrics{Port: 15090, Include: DefaultStatistics()}
	p.Drain = 10 * time.Second
	return p
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
