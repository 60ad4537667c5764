package templates

import (
	"fmt"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxConfig is what the four files of that many upstreams may have. Every write of the pod carries them.
const maxConfig = 60_000

// maxUpstream is what one more upstream may add: what all have in common is written once.
const maxUpstream = 450

// TestSizeOfManyUpstreams: eighty-eight upstreams of ordinary names and one inbound port fit, with probes and statistics.
func TestSizeOfManyUpstreams(t *testing.T) {
	one, many := sizeOf(t, withUpstreams(t, 1)), sizeOf(t, withUpstreams(t, 88))
	t.Logf("1 upstream: %d bytes; 88 upstreams: %d bytes; each one more: %d bytes", one, many, (many-one)/87)
	if each := (many - one) / 87; each > maxUpstream {
		t.Errorf("expected at most %d bytes for one more upstream, got %d", maxUpstream, each)
	}
	if many > maxConfig {
		t.Errorf("expected at most %d bytes, got %d", maxConfig, many)
	}
}

func sizeOf(t *testing.T, p ir.Proxy) int {
	t.Helper()
	config, err := Generate(p)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, content := range files(config) {
		total += len(content)
	}
	return total
}

// withUpstreams has one inbound port, and n upstreams of names such as people give.
func withUpstreams(t testing.TB, n int) ir.Proxy {
	t.Helper()
	peer := func(text string) ir.Peer {
		out, err := ir.ParsePeer(exampleOrg, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	p := observed(ir.Proxy{
		ID: spiffeid.RequireFromPath(exampleOrg, "/ns/shop/sa/frontend"), SVIDTTL: time.Hour, AgentSocket: "/run/spire/sockets/agent.sock",
		Inbound: []ir.Inbound{{Listen: 8443, App: 8080, Peers: []ir.Peer{peer("/ns/shop/sa/gateway")}}},
	})
	for i := range n {
		name := fmt.Sprintf("orders%02d", i)
		address, err := ir.ParseAddress(name + ".shop.svc.cluster.local:8443")
		if err != nil {
			t.Fatal(err)
		}
		p.Upstreams = append(p.Upstreams, ir.Upstream{Listen: uint16(20000 + i), Address: address, Peers: []ir.Peer{peer("/ns/shop/sa/" + name)}})
	}
	return p
}

// BenchmarkGenerateByUpstreams shows how the time grows with the upstreams.
func BenchmarkGenerateByUpstreams(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		p := withUpstreams(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Generate(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
