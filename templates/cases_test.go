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
		"tcp": proxy("/web", nil,
			Upstream{Listen: 5432, Address: address(t, "db-0.db.default.svc:5432"), Peers: peers(t, "/db"), Protocol: TCP},
		),
	}
}

func peers(t *testing.T, texts ...string) []Peer {
	t.Helper()
	out := make([]Peer, len(texts))
	for i, text := range texts {
		peer, err := ParsePeer(exampleOrg, nil, text)
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
