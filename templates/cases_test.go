package templates

import (
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

var (
	exampleOrg   = spiffeid.RequireTrustDomainFromString("example.org")
	auxiliaryOrg = spiffeid.RequireTrustDomainFromString("auxiliary.org")
)

// cases are the proxies whose configuration is kept in testdata, one folder each. The tests on the
// generated messages, and those on the real Envoy, run over all of them.
func cases(t *testing.T) map[string]ir.Proxy {
	t.Helper()
	proxy := func(path string, inbound []ir.Inbound, upstreams ...ir.Upstream) ir.Proxy {
		return ir.Proxy{
			ID:          spiffeid.RequireFromPath(exampleOrg, path),
			SVIDTTL:     30 * time.Second,
			AgentSocket: "/run/spire/sockets/agent.sock",
			Inbound:     inbound,
			Upstreams:   upstreams,
		}
	}
	return map[string]ir.Proxy{
		"api": proxy("/api", []ir.Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/valid-api-client")}}),
		"client": proxy("/valid-api-client", nil,
			ir.Upstream{Listen: 8000, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api")}),
		"several": proxy("/ns/prod/sa/web",
			[]ir.Inbound{
				{Listen: 8443, App: 8080, Peers: peers(t, "/ns/prod/*", "/admin")},
				{Listen: 8444, App: 8080, Peers: peers(t, "/*")},
				{Listen: 9443, App: 9090, Peers: peers(t, "/ns/prod/sa/web"), Protocol: ir.GRPC},
			},
			ir.Upstream{Listen: 8000, Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/api", "/ns/prod/*")},
			ir.Upstream{Listen: 8001, Address: address(t, "[2001:db8::7]:8443"), Peers: peers(t, "/api"), Protocol: ir.HTTP2},
			ir.Upstream{Listen: 8002, Address: address(t, "greeter.default.svc.cluster.local.:9443"), Peers: peers(t, "/greeter"), Protocol: ir.GRPC},
		),
		"quarantine": refusing(peers(t, "/ns/prod/sa/evil", "/evil/*", "/db"), proxy("/ns/prod/sa/web",
			[]ir.Inbound{
				{Listen: 8443, App: 8080, Peers: peers(t, "/ns/prod/*", "/db", "/admin")},
				{Listen: 8444, App: 8081, Peers: peers(t, "/web"), Audit: true},
				{Listen: 8445, App: 8082, Peers: peers(t, "/admin")},
				{Listen: 8446, App: 8083, Peers: peers(t, "/web"), JWT: token(peers(t, "/evil/twin", "/web"), "api")},
				{Listen: 8447, App: 8084, Peers: peers(t, "/web"), Forwarded: peers(t, "/*")},
				{Listen: 9000, App: 9001, Peers: peers(t, "/ns/prod/*"), Protocol: ir.TCP},
				{Listen: 9002, App: 9003, Peers: peers(t, "/web"), Protocol: ir.TCP, Audit: true},
			},
			ir.Upstream{Listen: 8000, Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/ns/prod/*")},
			ir.Upstream{Listen: 5432, Address: address(t, "10.0.0.8:8443"), Peers: peers(t, "/db"), Protocol: ir.TCP},
			ir.Upstream{Listen: 8001, Address: address(t, "10.0.0.9:8443"), Peers: peers(t, "/api")},
		)),
		"tcp": withHTTPProbe(withTCPDeadlines(proxy("/web",
			[]ir.Inbound{{Listen: 9000, App: 9001, Peers: peers(t, "/client"), Protocol: ir.TCP}},
			ir.Upstream{Listen: 5432, Address: address(t, "db-0.db.default.svc:5432"), Peers: peers(t, "/db"), Protocol: ir.TCP},
		))),
		"migration": proxy("/api", []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web"), TLS: ir.Permissive},
			{Listen: 8444, App: 8081, Peers: peers(t, "/web", "spiffe://auxiliary.org/web", "/ns/prod/*"), Audit: true},
			{Listen: 9000, App: 9001, Peers: peers(t, "/web"), Protocol: ir.TCP, TLS: ir.Permissive, Audit: true},
			{Listen: 9002, App: 9003, Protocol: ir.TCP, TLS: ir.None},
		}),
		"edge": asGateway(proxy("/edge", []ir.Inbound{{Listen: 10808, TLS: ir.None}, {Listen: 8443, Peers: peers(t, "spiffe://auxiliary.org/*")}},
			ir.Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")},
			ir.Upstream{Match: match(t, "/api"), Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api"), Protocol: ir.GRPC},
			ir.Upstream{Match: match(t, "api.example.org/"), Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api")},
			ir.Upstream{Match: match(t, "*.example.org/v1"), Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/api")},
		)),
		"jwt": proxy("/api", []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web"), JWT: token(peers(t, "/web", "/ns/prod/*"), "spiffe://example.org/api")},
			{Listen: 8444, App: 8081, Peers: peers(t, "/web"), TLS: ir.Permissive, Audit: true, JWT: token(peers(t, "/web"), "api", "other")},
			{Listen: 8445, App: 8080, TLS: ir.None, JWT: token(peers(t, "/web", "spiffe://auxiliary.org/*"), "api")},
			{Listen: 8446, App: 8080, Peers: peers(t, "/admin")},
		}),
		"jwt-client": proxy("/web", nil,
			ir.Upstream{Listen: 8000, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api"), JWTAudience: "spiffe://example.org/api"},
			ir.Upstream{Listen: 8001, Address: address(t, "greeter.default.svc:9443"), Peers: peers(t, "/greeter"), Protocol: ir.GRPC, JWTAudience: "greeter"},
			ir.Upstream{Listen: 8002, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")}),
		"resilience": proxy("/web", nil,
			ir.Upstream{Listen: 8000, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api"), Resilience: everyResilience()},
			ir.Upstream{Listen: 8001, Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/api"), Protocol: ir.GRPC,
				Resilience: ir.Resilience{Retries: ir.Retries{Off: true}}},
			ir.Upstream{Listen: 5432, Address: address(t, "db.default.svc:5432"), Peers: peers(t, "/db"), Protocol: ir.TCP,
				Resilience: ir.Resilience{IdleTimeout: time.Hour, MaxConnections: 10, Retries: ir.Retries{Attempts: 1}}},
		),
		"public": asGateway(proxy("/edge", []ir.Inbound{
			{Listen: 443, Peers: peers(t, "/shop/*"), Clients: ir.Request, Certificate: true, Limits: publicLimits()},
			{Listen: 8443, Clients: ir.NoRequest, Certificate: true, MinTLS: ir.TLS12, Limits: ir.Limits{MaxRequestBytes: 1 << 20}},
			{Listen: 9443, Peers: peers(t, "spiffe://auxiliary.org/*"), Clients: ir.Request},
		}, ir.Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")})),
		"traced": traced(t, proxy("/api",
			[]ir.Inbound{
				{Listen: 8443, App: 8080, Peers: peers(t, "/web")},
				{Listen: 8444, App: 8080, TLS: ir.None},
			},
			ir.Upstream{Listen: 8000, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")},
		), "/collector"),
		"traced-gateway": asGateway(traced(t, proxy("/edge", []ir.Inbound{{Listen: 8443, Clients: ir.NoRequest}},
			ir.Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")}))),
		"on-pod-ip": proxy("/api", []ir.Inbound{{Listen: 8443, App: 8080, AppHost: ir.PodIP, Peers: peers(t, "/web")}}),
		"public-tcp": proxy("/edge", []ir.Inbound{
			{Listen: 9000, App: 9001, Clients: ir.NoRequest, Protocol: ir.TCP, Limits: ir.Limits{MaxConnections: 1000, IdleTimeout: time.Hour}},
		}),
		"jwt-public": asGateway(longLived(proxy("/edge", []ir.Inbound{
			{Listen: 7443, Peers: peers(t, "/web"), JWT: token(peers(t, "/web"), "spiffe://example.org/edge")},
			{
				Listen:  8443,
				Peers:   peers(t, "/web"),
				Clients: ir.Request,
				Limits:  publicLimits(),
				JWT:     token(peers(t, "/web", "/team/*"), "spiffe://example.org/edge"),
			},
			{
				Listen:  9443,
				Clients: ir.NoRequest,
				Limits:  limits(1<<20, time.Minute),
				JWT:     token(peers(t, "/web", "spiffe://auxiliary.org/*"), "edge.example.org"),
			},
			{Listen: 9444, Clients: ir.NoRequest, Limits: publicLimits()},
			{Listen: 10808, TLS: ir.None, Limits: publicLimits(), JWT: token(peers(t, "/web"), "edge.example.org")},
		}, ir.Upstream{Match: match(t, "/"), Address: address(t, "api.demo.svc:8443"), Peers: peers(t, "/api"), JWTAudience: "api"}))),
		"jwt-server": longLived(proxy("/api", []ir.Inbound{
			{
				Listen: 8443,
				App:    8080,
				Peers:  peers(t, "/edge"),
				JWT:    token(peers(t, "/web", "/ns/prod/*", "spiffe://auxiliary.org/web"), "spiffe://example.org/api"),
			},
			{
				Listen: 8444,
				App:    8081,
				TLS:    ir.None,
				Limits: publicLimits(),
				JWT:    token(peers(t, "/web"), "spiffe://example.org/api", "api.example.org"),
			},
			{Listen: 9443, App: 9090, Peers: peers(t, "/web"), Protocol: ir.GRPC},
		})),
		"gateway": asGateway(longLived(proxy("/edge", []ir.Inbound{
			{Listen: 7443, Peers: peers(t, "/web"), Limits: limits(0, 0)},
			{Listen: 8080, TLS: ir.None, Limits: publicLimits()},
			{Listen: 8081, TLS: ir.None, Limits: ir.Limits{MaxRequestBytes: 1000, RequestTimeout: time.Minute}},
			{Listen: 8443, Peers: peers(t, "/web"), Protocol: ir.HTTP2},
			{Listen: 9443, Clients: ir.NoRequest, Certificate: true, Limits: limits(1<<20, 0)},
		}, ir.Upstream{Match: match(t, "*.example.org/v1"), Address: address(t, "10.0.0.7:8443"), Peers: peers(t, "/team/*")}))),
		"mixed": longLived(withOneProbe(proxy("/api", []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/web", "/ns/prod/*", "/*")},
			{Listen: 8444, App: 8081, Peers: peers(t, "/team/*", "spiffe://auxiliary.org/web"), Protocol: ir.HTTP2},
			{Listen: 8445, App: 8080, Peers: peers(t, "/web", "spiffe://auxiliary.org/*")},
			{Listen: 8446, App: 8082, Peers: peers(t, "spiffe://auxiliary.org/*"), Protocol: ir.TCP},
			{Listen: 8447, App: 8080, TLS: ir.None, Limits: publicLimits()},
			{Listen: 8448, App: 8080, Peers: peers(t, "/team/*"), Audit: true},
			{Listen: 8449, App: 8080, Peers: peers(t, "/web"), Audit: true},
		}, ir.Upstream{Listen: 8000, Address: address(t, "api.demo.svc:8443"), Peers: peers(t, "/api", "/team/*")}))),
		"behind-gateway": proxy("/api", []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/edge"), Forwarded: peers(t, "/web", "spiffe://auxiliary.org/ns/prod/*")},
			{Listen: 8444, App: 8080, Peers: peers(t, "/edge"), TLS: ir.Permissive, Forwarded: peers(t, "/web")},
		}),
		"rules": proxy("/api", []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/admin"), Rules: []ir.Rule{
				{Item: 1, Peer: peers(t, "/web")[0], Methods: []string{"GET", "HEAD"}, Paths: paths(t, "/healthz", "/v1/*", "/v2/*")},
				{Item: 2, Peer: peers(t, "/ns/prod/*")[0], Methods: []string{"GET"}},
				{Item: 3, Peer: peers(t, "/ns/prod/sa/shop")[0], Methods: []string{"PUT"}, Paths: paths(t, "/v1/orders/*")},
				{Item: 4, Peer: peers(t, "/web")[0], Methods: []string{"POST"}, Paths: paths(t, "/v1/orders")},
			}},
			{Listen: 8444, App: 8081, Audit: true, Rules: []ir.Rule{{Peer: peers(t, "/web")[0], Paths: paths(t, "/v1/*")}}},
			{Listen: 9443, App: 9090, Protocol: ir.GRPC, TLS: ir.Permissive, JWT: token(peers(t, "/user"), "api"), Rules: []ir.Rule{
				{Peer: peers(t, "/web")[0], Paths: paths(t, "/pkg.Greeter/Hello")},
			}},
		}),
		"outside": proxy("/web", nil,
			outsideUpstream(t, 8000, "api.example.org:443", ir.HTTP, ir.SystemCA(), "api.example.org", false),
			outsideUpstream(t, 8001, "10.0.0.7:8443", ir.GRPC, secretCA(t, "partner.ca"), "10.0.0.7", true),
			outsideUpstream(t, 5432, "db.example.org:5432", ir.TCP, secretCA(t, "db-ca"), "db-1.example.org", false),
			ir.Upstream{Listen: 8002, Address: address(t, "api.default.svc:8443"), Peers: peers(t, "/api")},
		),
		"names": named(t, proxy("/web", nil),
			ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api")}, "api:8080",
			ir.Upstream{Address: address(t, "api.shop.svc:9090"), Peers: peers(t, "/api"), Host: "greeter", Protocol: ir.GRPC,
				Resilience: ir.Resilience{Timeout: time.Minute}}, "api.shop:9090",
			ir.Upstream{Address: address(t, "db-0.db.data.svc:5432"), Peers: peers(t, "/db"), Protocol: ir.TCP, Passthrough: []uint16{22, 9187}},
			"db-0.db.data.svc:5432",
			outsideUpstream(t, 0, "api.example.org:443", ir.HTTP, ir.SystemCA(), "api.example.org", false), "api.example.org:80",
			ir.Upstream{Listen: 8000, Address: address(t, "api:8443"), Peers: peers(t, "/api")}, "",
		),
		"outside-gateway": asGateway(proxy("/edge", []ir.Inbound{{Listen: 8443, Peers: peers(t, "/web")}},
			ir.Upstream{Match: match(t, "/"), Address: address(t, "web.default.svc:8443"), Peers: peers(t, "/web")},
			outsideRoute(t, "/pictures", "pictures.example.org:443", "pictures.example.org"),
		)),
		"dual-stack": dualStack(proxy("/api", []ir.Inbound{{Listen: 8443, App: 8080, AppHost: "::1", Peers: peers(t, "/web")}},
			ir.Upstream{Listen: 8000, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")})),
		"observed": observed(proxy("/api", []ir.Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/web")}},
			ir.Upstream{Listen: 8000, Address: address(t, "other.default.svc:8443"), Peers: peers(t, "/other")})),
	}
}

// named is a proxy in namespace shop with upstreams that the app calls by names.
func named(t *testing.T, p ir.Proxy, upstreamsAndNames ...any) ir.Proxy {
	t.Helper()
	p.ClusterDomain = "cluster.local"
	for i := 0; i < len(upstreamsAndNames); i += 2 {
		up, name := upstreamsAndNames[i].(ir.Upstream), upstreamsAndNames[i+1].(string)
		if name != "" {
			var err error
			if up.Name, up.Listen, err = ir.ParseName(name, "shop", p.ClusterDomain); err != nil {
				t.Fatal(err)
			}
		}
		p.Upstreams = append(p.Upstreams, up)
	}
	p.PlaceNames()
	return p
}

// asGateway has no app.
func asGateway(p ir.Proxy) ir.Proxy {
	p.Gateway = true
	return p
}

// longLived has certificates of an hour, and so connections of half an hour to it, and of a third of the drain time
// from it.
func longLived(p ir.Proxy) ir.Proxy {
	p.SVIDTTL, p.Drain = time.Hour, 10*time.Second
	return p
}

// traced sends spans to a collector, in plain text if it has no identity.
func traced(t *testing.T, p ir.Proxy, collector ...string) ir.Proxy {
	t.Helper()
	p.Tracing = ir.Tracing{Collector: address(t, "collector.tracing.svc:4317"), Percent: 12.5}
	if len(collector) > 0 {
		p.Tracing.Peers = peers(t, collector...)
	}
	return p
}

// token is what requests have to carry.
func token(subjects []ir.Peer, audiences ...string) ir.JWT {
	return ir.JWT{Audiences: audiences, Subjects: subjects}
}

// limits are other ones than those of [publicLimits].
func limits(maxRequestBytes uint64, requestTimeout time.Duration) ir.Limits {
	return ir.Limits{
		MaxConnections:    100,
		MaxRequestBytes:   maxRequestBytes,
		RequestTimeout:    requestTimeout,
		StreamIdleTimeout: time.Hour,
		IdleTimeout:       90 * time.Second,
	}
}

// publicLimits are those of a port whose callers are not known.
func publicLimits() ir.Limits { return ir.DefaultLimits(ir.Inbound{TLS: ir.None}) }

// withOneProbe has one probe, and statistics of one kind.
func withOneProbe(p ir.Proxy) ir.Proxy {
	p.Probes = []ir.Probe{{Listen: ir.ProbePort, Path: "/probe/app/liveness", Kind: ir.ProbeTCP, App: 8080}}
	p.Metrics = ir.Metrics{Port: 15095, Include: []string{"http.inbound_"}}
	return p
}

// withHTTPProbe has no other kind of probe.
func withHTTPProbe(p ir.Proxy) ir.Proxy {
	p.Probes = []ir.Probe{{Listen: ir.ProbePort, Path: "/probe/app/liveness", App: 9001, Target: "/live"}}
	return p
}

// withTCPDeadlines has an Envoy that was started with what they need.
func withTCPDeadlines(p ir.Proxy) ir.Proxy {
	p.TCPDeadlines = true
	return p
}

// dualStack is called by IPv4 and IPv6.
func dualStack(p ir.Proxy) ir.Proxy {
	p.IPFamily = ir.DualStack
	return p
}

// observed adds probes of each kind, metrics and a drain time.
func observed(p ir.Proxy) ir.Proxy {
	p.Probes = []ir.Probe{
		{Listen: ir.ProbePort, Path: "/probe/app/startup", Kind: ir.ProbeTCP, App: 8080},
		{Listen: ir.ProbePort, Path: "/probe/app/liveness", App: 8080, Target: `/healthz?full=%20\1`},
		{Listen: ir.ProbePort, Path: "/probe/app/readiness", Kind: ir.ProbeHTTPS, App: 8081, Target: "/ready"},
		{Listen: ir.ProbePort, Path: "/probe/side/readiness", App: 8080, Target: "/", OwnHost: true},
		{Listen: ir.HookPort, Path: "/hook/app/preStop", App: 8080, Target: "/shutdown"},
		{Listen: ir.FirstGRPCProbePort, Kind: ir.ProbeGRPC, App: 9090},
		{Listen: ir.FirstGRPCProbePort + 1, Kind: ir.ProbeGRPC, App: 9091},
	}
	p.Metrics = ir.Metrics{Port: 15090, Include: ir.DefaultStatistics()}
	p.Drain, p.MemoryLimit = 10*time.Second, 256<<20
	return p
}

func peers(t *testing.T, texts ...string) []ir.Peer {
	t.Helper()
	out := make([]ir.Peer, len(texts))
	for i, text := range texts {
		peer, err := ir.ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliaryOrg}, text)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = peer
	}
	return out
}

func address(t *testing.T, text string) ir.Address {
	t.Helper()
	out, err := ir.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func match(t *testing.T, text string) ir.Match {
	t.Helper()
	out, err := ir.ParseMatch(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refusing has a proxy refuse quarantined identities.
func refusing(quarantined []ir.Peer, p ir.Proxy) ir.Proxy {
	p.Refuse(quarantined)
	return p
}

// withoutRefused is a proxy as it is while nobody is quarantined.
func withoutRefused(p ir.Proxy) ir.Proxy {
	p.Inbound, p.Upstreams, p.CollectorRefused = slices.Clone(p.Inbound), slices.Clone(p.Upstreams), nil
	for i := range p.Inbound {
		p.Inbound[i].Refused = nil
	}
	for i := range p.Upstreams {
		p.Upstreams[i].Refused = nil
	}
	return p
}
