package templates

import (
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestEarlyLives: whatever is left of a caller's certificate, its connection has a part of it, and never more.
func TestEarlyLives(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 3 * time.Second, 20 * time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		p := envoy{ir.Proxy{SVIDTTL: ttl}}
		lives, full := p.earlyLives(), int(p.connectionLife()/time.Second)
		t.Logf("of %s: %v", p.connectionLife(), lives)
		for left := 1; left < full; left++ {
			chosen := 0
			for _, life := range lives { // the first that fits, as Envoy takes them
				if left >= life {
					chosen = life
					break
				}
			}
			if chosen < 1 || chosen > left || chosen <= left/4-1 {
				t.Errorf("TTL %s: a connection may last %d s of the %d s that are left", ttl, chosen, left)
			}
		}
		if late := full * 9 / 10; full >= 30 && lives[0] < late*9/10 {
			t.Errorf("TTL %s: a caller whose SVID was renewed late has %d s of %d s", ttl, lives[0], late)
		}
	}
}

// TestWhoEndsTCPEarly: ports for peers who speak TCP, where the bootstrap allows it and streams have a bound.
func TestWhoEndsTCPEarly(t *testing.T) {
	mutual := ir.Inbound{Listen: 9000, App: 9001, Peers: peers(t, "/web"), Protocol: ir.TCP}
	for name, test := range map[string]struct {
		change func(*ir.Proxy)
		detour bool
		allows bool
	}{
		"mutual":        {func(*ir.Proxy) {}, true, true},
		"permissive":    {func(p *ir.Proxy) { p.Inbound[0].TLS = ir.Permissive }, true, true},
		"audited":       {func(p *ir.Proxy) { p.Inbound[0].Audit = true }, true, true},
		"plain":         {func(p *ir.Proxy) { p.Inbound[0].TLS, p.Inbound[0].Peers = ir.None, nil }, false, true},
		"anonymous":     {func(p *ir.Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = ir.NoRequest, nil }, false, true},
		"requests":      {func(p *ir.Proxy) { p.Inbound[0].Protocol = ir.HTTP }, false, true},
		"without bound": {func(p *ir.Proxy) { p.UnboundedStreams = true }, false, true},
		"older version": {func(p *ir.Proxy) { p.TCPDeadlines = false }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := withTCPDeadlines(ir.Proxy{ID: spiffeid.RequireFromPath(exampleOrg, "/api"), SVIDTTL: time.Hour, AgentSocket: "/agent.sock", Inbound: []ir.Inbound{mutual}})
			test.change(&p)
			detour := false
			for _, listener := range all[*listenerv3.Listener](t, name, p) {
				detour = detour || listener.GetInternalListener() != nil
			}
			if detour != test.detour {
				t.Errorf("there is a detour: %t, want %t", detour, test.detour)
			}
			bootstrap := all[*bootstrapv3.Bootstrap](t, name, p)[0]
			if allows := len(bootstrap.GetBootstrapExtensions()) > 0 && bootstrap.GetLayeredRuntime() != nil; allows != test.allows {
				t.Errorf("the bootstrap allows it: %t, want %t", allows, test.allows)
			}
		})
	}
}
