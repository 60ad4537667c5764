package templates

import (
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

func TestSamePorts(t *testing.T) {
	base := cases(t)["several"]
	bootstrap := func(change func(*ir.Proxy)) string {
		p := base
		p.Inbound, p.Upstreams = append([]ir.Inbound{}, base.Inbound...), append([]ir.Upstream{}, base.Upstreams...)
		change(&p)
		config, err := Generate(p)
		if err != nil {
			t.Fatal(err)
		}
		return config.Bootstrap
	}
	as := bootstrap(func(*ir.Proxy) {})
	for name, test := range map[string]struct {
		change func(*ir.Proxy)
		want   bool
	}{
		"nothing":               {func(*ir.Proxy) {}, true},
		"peers":                 {func(p *ir.Proxy) { p.Inbound[0].Peers = peers(t, "/other") }, true},
		"address of upstream":   {func(p *ir.Proxy) { p.Upstreams[0].Address = address(t, "other:1") }, true},
		"statistics and socket": {func(p *ir.Proxy) { p.Metrics, p.AgentSocket = ir.Metrics{Port: 15090}, "/moved" }, true},
		"drain and TTL":         {func(p *ir.Proxy) { p.Drain, p.SVIDTTL = time.Second, time.Hour }, true},
		"order of inbound":      {func(p *ir.Proxy) { p.Inbound[0], p.Inbound[1] = p.Inbound[1], p.Inbound[0] }, true},
		"inbound port":          {func(p *ir.Proxy) { p.Inbound[0].Listen = 8445 }, false},
		"port of the app":       {func(p *ir.Proxy) { p.Inbound[0].App = 8081 }, false},
		"inbound port less":     {func(p *ir.Proxy) { p.Inbound = p.Inbound[1:] }, false},
		"upstream port":         {func(p *ir.Proxy) { p.Upstreams[1].Listen = 8009 }, false},
		"optional certificates": {func(p *ir.Proxy) {
			p.Inbound[0].Clients = ir.Request
		}, false},
		"no certificates": {func(p *ir.Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = ir.NoRequest, nil }, true},
		"upstream is TCP": {func(p *ir.Proxy) { p.Upstreams[1].Protocol = ir.TCP }, false},
	} {
		if got, err := SamePorts(as, bootstrap(test.change)); err != nil || got != test.want {
			t.Errorf("%s: expected %t, got %t, %v", name, test.want, got, err)
		}
	}
	for _, pair := range [][2]string{{"", as}, {as, "{"}} {
		if _, err := SamePorts(pair[0], pair[1]); err == nil {
			t.Errorf("expected an error of %.10q and %.10q", pair[0], pair[1])
		}
	}
}
