package templates

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestRemovedCallersChangeTheirChains: of the changed port alone, and only where the list decides anything.
func TestRemovedCallersChangeTheirChains(t *testing.T) {
	base := func() ir.Proxy {
		return ir.Proxy{ID: cases(t)["api"].ID, SVIDTTL: cases(t)["api"].SVIDTTL, AgentSocket: "/agent.sock", Inbound: []ir.Inbound{
			{Listen: 8443, App: 8080, Peers: peers(t, "/a"), JWT: token(peers(t, "/a", "/b"), "x")},
			{Listen: 8444, App: 8080, Peers: peers(t, "/a"), TLS: ir.Permissive, Forwarded: peers(t, "/a", "/b")},
			{Listen: 8445, App: 8080, TLS: ir.None, JWT: token(peers(t, "/a", "/b"), "x")},
			{Listen: 8446, App: 8080, Peers: peers(t, "/a", "/b"), Clients: ir.Request},
			{Listen: 8447, App: 8080, Peers: peers(t, "/a"), JWT: token(peers(t, "/a", "/b"), "x")},
			{Listen: 8448, App: 8080, TLS: ir.Permissive, Rules: []ir.Rule{
				{Item: 0, Peer: peers(t, "/a")[0], Methods: []string{"GET", "HEAD"}}, {Item: 1, Peer: peers(t, "/b")[0], Methods: []string{"PUT"}},
			}},
		}}
	}
	methods := func(of ...string) func(in []ir.Inbound) { // of the first rule
		return func(in []ir.Inbound) { in[5].Rules[0].Methods = of }
	}
	audited := func() ir.Proxy { // not beside certificates that are optional
		p := base()
		p.Inbound = append(p.Inbound[:3:3], p.Inbound[4], p.Inbound[5])
		p.Inbound[4].Audit = true
		p.Inbound[3].Audit = true
		return p
	}
	for name, test := range map[string]struct {
		of     func() ir.Proxy
		change func(in []ir.Inbound)
		want   []string // chains, as "listener/index"
	}{
		"nothing":             {base, func([]ir.Inbound) {}, nil},
		"order":               {base, func(in []ir.Inbound) { in[0].JWT.Subjects = peers(t, "/b", "/a") }, nil},
		"subjects":            {base, func(in []ir.Inbound) { in[0].JWT.Subjects = peers(t, "/a") }, []string{"inbound_8443/0"}},
		"forwarded":           {base, func(in []ir.Inbound) { in[1].Forwarded = peers(t, "/a") }, []string{"inbound_8444/0"}},
		"subjects without":    {base, func(in []ir.Inbound) { in[2].JWT.Subjects = peers(t, "/b") }, []string{"inbound_8445/0"}},
		"peers, optional":     {base, func(in []ir.Inbound) { in[3].Peers = peers(t, "/a") }, []string{"inbound_8446/0"}},
		"a rule in audit":     {audited, func(in []ir.Inbound) { in[4].Rules = in[4].Rules[:1] }, nil},
		"subjects in audit":   {audited, func(in []ir.Inbound) { in[3].JWT.Subjects = peers(t, "/a") }, nil},
		"one for the other":   {base, func(in []ir.Inbound) { in[0].JWT.Subjects = peers(t, "/a", "/c") }, []string{"inbound_8443/0"}},
		"a method of a rule":  {base, methods("GET"), []string{"inbound_8448/0"}},
		"order in a rule":     {base, methods("HEAD", "GET"), nil},
		"an end of the audit": {audited, func(in []ir.Inbound) { in[3].Audit = false }, []string{"inbound_8447/0"}},
	} {
		before, changed := chains(t, test.of()), test.of()
		test.change(changed.Inbound)
		var got []string
		for key, chain := range chains(t, changed) {
			if !proto.Equal(chain, before[key]) {
				got = append(got, key)
			}
		}
		if len(got) != len(test.want) || len(got) > 0 && got[0] != test.want[0] {
			t.Errorf("%s: changes %q, want %q", name, got, test.want)
		}
	}
}

func chains(t *testing.T, proxy ir.Proxy) map[string]*listenerv3.FilterChain {
	t.Helper()
	out := map[string]*listenerv3.FilterChain{}
	for _, listener := range all[*listenerv3.Listener](t, "chains", proxy) {
		for i, chain := range listener.GetFilterChains() {
			out[listener.GetName()+"/"+string(rune('0'+i))] = chain
		}
	}
	return out
}
