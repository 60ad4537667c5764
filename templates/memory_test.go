package templates

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func TestMemoryIsGenerate(t *testing.T) {
	td := spiffeid.RequireTrustDomainFromString("example.org")
	peer := func(s string) Peer {
		p, err := ParsePeer(td, nil, s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := Proxy{
		ID: spiffeid.RequireFromPath(td, "/api"), SVIDTTL: time.Hour, AgentSocket: "/run/agent.sock",
		Inbound: []Inbound{{Listen: 8443, App: 8080, Peers: []Peer{peer("/web")}}},
	}
	variants := []Proxy{base}
	for _, change := range []func(*Proxy){
		func(p *Proxy) { p.ID = spiffeid.RequireFromPath(td, "/other") },
		func(p *Proxy) { p.SVIDTTL = time.Minute },
		func(p *Proxy) { p.AgentSocket = "/run/other.sock" },
		func(p *Proxy) { p.Inbound[0].App = 8081 },
		func(p *Proxy) { p.Inbound[0].Peers = []Peer{peer("/web/*")} },
		func(p *Proxy) { p.Inbound[0].Peers = []Peer{peer("/web"), peer("/shop")} },
		func(p *Proxy) { p.Inbound[0].Protocol = GRPC },
	} {
		variant := base
		variant.Inbound = append([]Inbound(nil), base.Inbound...)
		change(&variant)
		variants = append(variants, variant)
	}
	for _, limit := range []int{1, 100} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			memory := NewMemory(limit)
			var wg sync.WaitGroup
			for range 3 {
				for i, p := range variants {
					wg.Go(func() {
						want, err := Generate(p)
						if err != nil {
							t.Error(err)
						}
						got, err := memory.Generate(p)
						if err != nil || got != want {
							t.Errorf("variant %d (%v):\n%s", i, err, cmp.Diff(want, got))
						}
					})
				}
			}
			wg.Wait()
			if n := len(memory.configs); n > limit || n == 0 {
				t.Errorf("expected 1 to %d configurations in memory, got %d", limit, n)
			}
		})
	}
	if _, err := NewMemory(1).Generate(Proxy{}); err == nil {
		t.Error("expected the error of Generate for an empty proxy, got none")
	}
}

func BenchmarkGenerate(b *testing.B) {
	td := spiffeid.RequireTrustDomainFromString("example.org")
	peer, err := ParsePeer(td, nil, "/web")
	if err != nil {
		b.Fatal(err)
	}
	proxy := Proxy{
		ID: spiffeid.RequireFromPath(td, "/api"), SVIDTTL: time.Hour, AgentSocket: "/run/agent.sock",
		Inbound: []Inbound{{Listen: 8443, App: 8080, Peers: []Peer{peer}}},
	}
	memory := NewMemory(10)
	for name, generate := range map[string]func(Proxy) (Config, error){"anew": Generate, "remembered": memory.Generate} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := generate(proxy); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
