package templates

import (
	"testing"
	"time"
)

func TestSamePorts(t *testing.T) {
	base := cases(t)["several"]
	bootstrap := func(change func(*Proxy)) string {
		p := base
		p.Inbound, p.Upstreams = append([]Inbound{}, base.Inbound...), append([]Upstream{}, base.Upstreams...)
		change(&p)
		config, err := Generate(p)
		if err != nil {
			t.Fatal(err)
		}
		return config.Bootstrap
	}
	as := bootstrap(func(*Proxy) {})
	for name, test := range map[string]struct {
		change func(*Proxy)
		want   bool
	}{
		"nothing":               {func(*Proxy) {}, true},
		"peers":                 {func(p *Proxy) { p.Inbound[0].Peers = peers(t, "/other") }, true},
		"address of upstream":   {func(p *Proxy) { p.Upstreams[0].Address = address(t, "other:1") }, true},
		"statistics and socket": {func(p *Proxy) { p.Metrics, p.AgentSocket = Metrics{Port: 15090}, "/moved" }, true},
		"drain and TTL":         {func(p *Proxy) { p.Drain, p.SVIDTTL = time.Second, time.Hour }, true},
		"order of inbound":      {func(p *Proxy) { p.Inbound[0], p.Inbound[1] = p.Inbound[1], p.Inbound[0] }, true},
		"inbound port":          {func(p *Proxy) { p.Inbound[0].Listen = 8445 }, false},
		"port of the app":       {func(p *Proxy) { p.Inbound[0].App = 8081 }, false},
		"inbound port less":     {func(p *Proxy) { p.Inbound = p.Inbound[1:] }, false},
		"upstream port":         {func(p *Proxy) { p.Upstreams[1].Listen = 8009 }, false},
		"optional certificates": {func(p *Proxy) {
			p.Inbound[0].Clients = Optional
		}, false},
		"no certificates": {func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = NotAsked, nil }, true},
		"upstream is TCP": {func(p *Proxy) { p.Upstreams[1].Protocol = TCP }, false},
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
