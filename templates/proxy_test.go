package templates

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMistakesAtOnce expects one line for each mistake, in the order of the fields.
func TestMistakesAtOnce(t *testing.T) {
	good := cases(t)["several"]
	tests := []struct {
		name  string
		proxy Proxy
		want  []string
	}{
		{"nothing", Proxy{}, []string{
			`proxy: expected a SPIFFE ID with a path, got ""`,
			`proxy: expected an SVID TTL of at least 2s, got 0s`,
			`proxy: expected the agent socket's absolute path in at most 107 bytes, got ""`,
			`proxy: expected at least one inbound port or one upstream, got none`,
		}},
		{"ports", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket,
			Inbound: []Inbound{
				{Listen: 8443, App: 8443, Peers: peers(t, "/web")},
				{Listen: 15000, App: 15000, Peers: peers(t, "/web")},
				{Listen: 8443, App: 8000, Peers: peers(t, "/web")},
				{Listen: 8444, App: 0, Peers: peers(t, "/web")},
			},
			Upstreams: []Upstream{
				{Listen: 15021, Address: address(t, "api:1"), Peers: peers(t, "/web")},
				{Listen: 8000, Address: address(t, "api:1"), Peers: peers(t, "/web")},
				{Listen: 0, Address: address(t, "api:1"), Peers: peers(t, "/web")},
			},
		}, []string{
			`inbound 2 (listen 15000): port 15000 is already taken by the admin interface`,
			`inbound 3 (listen 8443): port 8443 is already taken by inbound 1 (listen 8443)`,
			`upstream 1 (listen 15021): port 15021 is already taken by the readiness endpoint`,
			`upstream 3 (listen 0): expected a listen port from 1 to 65535, got 0`,
			`inbound 1 (listen 8443): expected the app's own port, but 8443 belongs to inbound 1 (listen 8443)`,
			`inbound 2 (listen 15000): expected the app's own port, but 15000 belongs to the admin interface`,
			`inbound 3 (listen 8443): expected the app's own port, but 8000 belongs to upstream 2 (listen 8000)`,
			`inbound 4 (listen 8444): expected an app port from 1 to 65535, or upstreams with a match, got 0 and none`,
		}},
		{"tokens", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket,
			Inbound: []Inbound{
				{Listen: 8443, App: 8080, Peers: peers(t, "/web"), JWT: JWT{Subjects: peers(t, "/web")}},
				{Listen: 8444, App: 8081, Peers: peers(t, "/web"), JWT: JWT{Audiences: []string{"a b", ""}}},
				{Listen: 8445, App: 8082, Peers: peers(t, "/web"), JWT: JWT{[]string{"a"}, peers(t, "/web")}, Protocol: TCP},
			},
			Upstreams: []Upstream{
				{Listen: 8000, Address: address(t, "api:1"), Peers: peers(t, "/web"), JWTAudience: "a", Protocol: TCP},
				{Listen: 8001, Address: address(t, "api:1"), Peers: peers(t, "/web"), JWTAudience: "a b"},
			},
		}, []string{
			`inbound 1 (listen 8443): expected at least one audience of tokens, got none`,
			`inbound 2 (listen 8444): expected audiences in printable ASCII, got "a b"`,
			`inbound 2 (listen 8444): expected audiences in printable ASCII, got ""`,
			`inbound 2 (listen 8444): subjects: expected at least one peer, got none; "/*" allows the whole trust domain`,
			`inbound 3 (listen 8445): expected no audiences and subjects of tokens with protocol tcp, which has no header for them`,
			`upstream 1 (listen 8000): expected no audience of tokens with protocol tcp, which has no header for them`,
			`upstream 2 (listen 8001): expected an audience in printable ASCII, got "a b"`,
		}},
		{"peers, addresses and protocols", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket,
			Inbound: []Inbound{
				{Listen: 8443, App: 8080},
				{Listen: 8444, App: 8081, Peers: []Peer{{}}},
				{Listen: 8445, App: 8080, Peers: peers(t, "/web"), Protocol: GRPC},
				{Listen: 8446, App: 8083, Peers: peers(t, "/web"), Protocol: -1},
				{Listen: 8447, App: 8083, Peers: peers(t, "/web"), TLS: 3},
				{Listen: 8448, App: 8084, Peers: peers(t, "/web"), TLS: None},
			},
			Upstreams: []Upstream{
				{Listen: 8000},
				{Listen: 8001, Address: address(t, "api:1"), Peers: peers(t, "/web"), Protocol: 7},
				{Listen: 8002, Address: address(t, "api:1"), Peers: peers(t, "/web", "spiffe://auxiliary.org/web")},
			},
		}, []string{
			`inbound 1 (listen 8443): expected at least one peer, got none; "/*" allows the whole trust domain`,
			`inbound 2 (listen 8444): peer 1 was not made by ParsePeer`,
			`inbound 3 (listen 8445): expected protocol http for app port 8080 as in an earlier inbound, got grpc`,
			`inbound 4 (listen 8446): expected a known protocol, got protocol(-1)`,
			`inbound 5 (listen 8447): expected a known TLS mode, got tls(3)`,
			`inbound 5 (listen 8447): expected protocol protocol(-1) for app port 8083 as in an earlier inbound, got http`,
			`inbound 6 (listen 8448): expected no peers, because nobody shows an identity, got 1`,
			`upstream 1 (listen 8000): expected an address, got none`,
			`upstream 1 (listen 8000): expected at least one peer, got none; "/*" allows the whole trust domain`,
			`upstream 2 (listen 8001): expected a known protocol, got protocol(7)`,
			`upstream 3 (listen 8002): expected peers of one trust domain, got several`,
		}},
		{"gateway", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket,
			Inbound: []Inbound{
				{Listen: 8443, Peers: peers(t, "/web"), Protocol: TCP},
				{Listen: 8080, TLS: None},
			},
			Upstreams: []Upstream{
				{Match: match(t, "/"), Address: address(t, "api:1"), Peers: peers(t, "/api")},
				{Match: match(t, "/"), Address: address(t, "api:1"), Peers: peers(t, "/api")},
				{Match: match(t, "/a"), Listen: 8000, Address: address(t, "api:1"), Peers: peers(t, "/api")},
				{Match: match(t, "a/"), Address: address(t, "api:1"), Peers: peers(t, "/api"), Protocol: TCP},
				{Address: address(t, "api:1"), Peers: peers(t, "/api")},
			},
		}, []string{
			`upstream 5 (listen 0): expected a listen port from 1 to 65535, got 0`,
			`inbound 1 (listen 8443): expected protocol http, http2 or grpc for a gateway, got tcp`,
			`upstream 2 (match /): an earlier upstream has the same match`,
			`upstream 3 (match /a): expected either a listen port or a match, got listen 8000 too`,
			`upstream 4 (match a/): expected protocol http, http2 or grpc for a route, got tcp`,
		}},
		{"clients, forwarded and limits", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket,
			Inbound: []Inbound{
				{Listen: 1, App: 80, Peers: peers(t, "/web"), Clients: 3},
				{Listen: 2, App: 80, TLS: None, Clients: Optional, Certificate: true},
				{Listen: 3, App: 80, Peers: peers(t, "/web"), TLS: Permissive, Clients: NotAsked},
				{Listen: 4, App: 80, Peers: peers(t, "/web"), Clients: Optional, Forwarded: peers(t, "/web")},
				{Listen: 8, App: 82, Peers: peers(t, "/web"), Protocol: TCP, Clients: Optional},
				{Listen: 5, App: 81, Peers: peers(t, "/web"), Protocol: TCP, Forwarded: peers(t, "/web"), Limits: Limits{RequestTimeout: 1}},
				{Listen: 6, App: 80, Peers: peers(t, "/web"), Audit: true, Forwarded: []Peer{{}}},
				{Listen: 7, App: 80, Peers: peers(t, "/web", "spiffe://auxiliary.org/web"), Limits: Limits{IdleTimeout: -1}},
			},
		}, []string{
			`inbound 1 (listen 1): expected a known client certificate mode, got clientCertificate(3)`,
			`inbound 2 (listen 2): expected client certificates to be required in TLS mode none, got optional`,
			`inbound 2 (listen 2): expected no certificate of a Secret in TLS mode none`,
			`inbound 3 (listen 3): expected client certificates to be required in TLS mode permissive, got none`,
			`inbound 3 (listen 3): expected no peers, because nobody shows an identity, got 1`,
			`inbound 4 (listen 4): expected no forwarded clients, because callers come who are no peers`,
			`inbound 5 (listen 8): expected client certificates to be required or none with protocol tcp, got optional`,
			`inbound 6 (listen 5): expected no forwarded clients with protocol tcp, which has no header for them`,
			`inbound 6 (listen 5): expected no limits of requests with protocol tcp, which has none`,
			`inbound 7 (listen 6): expected no forwarded clients with audited peers, because callers come who are no peers`,
			`inbound 7 (listen 6), forwarded clients: peer 1 was not made by ParsePeer`,
			`inbound 8 (listen 7): expected limits of 0s or more, got 0s, 0s and -1ns`,
			`inbound 7 (listen 6): expected peers of one trust domain that are enforced, because a port of this proxy takes callers without a certificate`,
			`inbound 8 (listen 7): expected peers of one trust domain that are enforced, because a port of this proxy takes callers without a certificate`,
		}},
		{"routes without gateway", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket, Inbound: good.Inbound,
			Upstreams: []Upstream{{Match: match(t, "/"), Address: address(t, "api:1"), Peers: peers(t, "/api")}},
		}, []string{
			`upstream 1 (match /): expected an inbound without app port, whose requests could match, got none`,
		}},
		{"probes, metrics and drain", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: good.AgentSocket, Drain: -1,
			Inbound: []Inbound{{Listen: 8443, App: 8080, Peers: peers(t, "/web")}},
			Probes: []Probe{
				{Listen: 15022, Path: "/a", App: 8080, Target: "/healthz?x=%20"},
				{Listen: 15022, Path: "/a", App: 0, Kind: ProbeTCP},
				{Listen: 15022, Path: "b", App: 8443, Kind: ProbeHTTPS, Target: "/ healthz"},
				{Listen: 15022, Path: "/c", App: 15000, Kind: ProbeTCP, Target: "/x"},
				{Listen: 15030, App: 8080, Kind: ProbeGRPC},
				{Listen: 15030, App: 8081, Kind: ProbeGRPC, Path: "/d"},
				{Listen: 15031, App: 8081, Kind: 4},
			},
			Metrics: Metrics{Port: 15021, Include: []string{"http.", ""}},
		}, []string{
			`proxy: expected a drain time of 0s or more, got -1ns`,
			`probe 6 (listen 15030): port 15030 is already taken by probe 5 (listen 15030)`,
			`the metrics endpoint: port 15021 is already taken by the readiness endpoint`,
			`probe 2 (listen 15022): expected an app port from 1 to 65535, got 0`,
			`probe 2 (listen 15022): path "/a" is already taken by an earlier probe`,
			`probe 3 (listen 15022): expected the app's own port, but 8443 belongs to inbound 1 (listen 8443)`,
			`probe 3 (listen 15022): expected a path that begins with a slash, in printable ASCII without a query, got "b"`,
			`probe 3 (listen 15022): expected a target that begins with a slash, in printable ASCII, got "/ healthz"`,
			`probe 4 (listen 15022): expected the app's own port, but 15000 belongs to the admin interface`,
			`probe 4 (listen 15022): expected no target of a TCP probe, got "/x"`,
			`probe 6 (listen 15030): expected no path of a gRPC probe, got "/d"`,
			`probe 7 (listen 15031): expected a known kind, got probe(4)`,
			`metrics: expected prefix 2 of a statistic's name in printable ASCII, got ""`,
		}},
		{"socket", Proxy{ID: good.ID, SVIDTTL: good.SVIDTTL, AgentSocket: "/" + strings.Repeat("s", 107), Inbound: good.Inbound}, []string{
			`proxy: expected the agent socket's absolute path in at most 107 bytes, got "/` + strings.Repeat("s", 107) + `"`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config, err := Generate(test.proxy)
			if config != (Config{}) || err == nil {
				t.Fatalf("got %v, %v, want an error alone", config, err)
			}
			text, ok := strings.CutPrefix(err.Error(), "cannot configure Envoy: ")
			if !ok {
				t.Errorf("got %q", err)
			}
			if diff := cmp.Diff(test.want, strings.Split(text, "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			var joined interface{ Unwrap() []error }
			if !errors.As(err, &joined) || len(joined.Unwrap()) != len(test.want) {
				t.Errorf("the mistakes cannot be taken apart: %v", err)
			}
		})
	}
}
