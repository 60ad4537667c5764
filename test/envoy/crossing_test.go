package envoy

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestNoRequestCrossesTheEndOfAnUnusedConnection: a caller's Envoy opens a second connection for a second request, and
// sends that on the first one, which is free sooner. What has never been used a server can only close, without a word,
// and here its end is under way for 200 ms. Requests that use it are made at all times until long after it has to have
// ended.
func TestNoRequestCrossesTheEndOfAnUnusedConnection(t *testing.T) {
	t.Parallel()
	const (
		ttl        = 30 * time.Second
		drain      = 10 * time.Second
		way        = 200 * time.Millisecond
		from, step = 500 * time.Millisecond, 150 * time.Millisecond
		times      = 24
	)
	agent := startAgent(t, "/api", "/web")
	api := ir.Proxy{ID: id("/api"), SVIDTTL: ttl, Drain: drain, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: startStreamApp(t), Peers: peers(t, "/web")},
	}}
	far := address(t, delayed(t, api.Inbound[0].Listen, way))
	web := ir.Proxy{ID: id("/web"), SVIDTTL: ttl, Drain: drain, AgentSocket: agent.socket}
	for range times { // each has connections of its own
		web.Upstreams = append(web.Upstreams, ir.Upstream{Listen: freePort(t), Address: far, Peers: peers(t, "/api")})
	}
	x, caller := startProxy(t, api), startProxy(t, web)
	x.waitReady()
	caller.waitReady()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 3}}
	var all sync.WaitGroup
	for n, up := range web.Upstreams {
		ask := func() {
			status, body, err := get(client, fmt.Sprintf("http://127.0.0.1:%d/short", up.Listen))
			if err != nil || status != http.StatusOK {
				t.Errorf("%s after an unused connection began: got %d %q %v, want 200", from+time.Duration(n)*step, status, body, err)
			}
		}
		all.Go(func() {
			ask()
			all.Go(ask)
			time.Sleep(way / 2) // the answer is on its way when the other connection's handshake has just begun
			began := time.Now()
			all.Go(ask)
			time.Sleep(time.Until(began.Add(from + time.Duration(n)*step)))
			for range 3 {
				all.Go(ask)
			}
		})
	}
	all.Wait()
	stats := fmt.Sprintf("http.inbound_%d.downstream_cx_", api.Inbound[0].Listen)
	opened, ended := x.statistic(stats+"total"), x.statistic(stats+"max_duration_reached")
	if opened < 2*times || ended > opened/4 { // on a busy machine a handshake may take a while
		t.Errorf("of %d connections the server ended %d, want %d at least and hardly any", opened, ended, 2*times)
	}
}
