package envoy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestStreamsOfRemovedCallersEnd: of a subject, of a forwarded client, of a peer at a port where certificates are
// optional, and of a method that a rule no longer has. A port that is not changed keeps its streams, and so does one whose list is written in another order.
func TestStreamsOfRemovedCallersEnd(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	own := newAuthority(t, trustDomain, "own")
	k := &keys{}
	k.set(t, own)
	jwt := ir.JWT{Audiences: []string{audience}, Subjects: peers(t, "/web", "/shop")}
	app := startStreamApp(t)
	p := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), JWT: jwt},
		{Listen: freePort(t), App: app, TLS: ir.None, JWT: jwt},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), Forwarded: peers(t, "/web", "/shop")},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web", "/shop"), Clients: ir.Request},
		{Listen: freePort(t), App: app, Rules: []ir.Rule{rule(t, 0, "/web", "GET", ""), rule(t, 1, "/web", "POST", "/v1/*")}},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), JWT: jwt},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), Forwarded: peers(t, "/web", "/shop")},
	}}
	const removed = 5 // ports from which the caller is removed; the others stay as they are, or nearly
	header := http.Header{
		"Authorization":           {"Bearer " + own.token(t, "spiffe://example.org/web", audience, time.Now().Add(time.Hour))},
		"X-Forwarded-Client-Cert": {"Hash=" + strings.Repeat("a1", 32) + ";URI=spiffe://example.org/web"},
	}
	x := startProxy(t, p, func(dir string) { k.serve(t, filepath.Dir(dir)) })
	x.waitReady()
	dial := func(in ir.Inbound) dialer {
		if in.TLS == ir.None {
			return plainDialer(in.Listen)
		}
		return tlsDialer(in.Listen, tlsConfig(t, agent, id("/web").String()))
	}
	var open [][]*stream
	for _, in := range p.Inbound {
		open = append(open, []*stream{openWebSocket(t, dial(in), header), openResponse(t, dial(in), header)})
	}
	p.Inbound = slices.Clone(p.Inbound)
	p.Inbound[0].JWT.Subjects = peers(t, "/shop")
	p.Inbound[1].JWT.Subjects = peers(t, "/shop")
	p.Inbound[2].Forwarded = peers(t, "/shop")
	p.Inbound[3].Peers = peers(t, "/shop")
	p.Inbound[4].Rules = p.Inbound[4].Rules[1:]
	p.Inbound[5].JWT.Subjects = peers(t, "/shop", "/web")
	changed := time.Now()
	x.apply(p)
	for i, in := range p.Inbound[:removed] {
		eventually(t, 2*time.Second, fmt.Sprintf("the denial at port %d", i), deniedAt(t, dial(in), header))
	}
	for _, streams := range open[:removed] {
		for _, s := range streams {
			s.life(t, changed.Sub(s.began)+(templates.DrainSeconds+3)*time.Second)
		}
	}
	time.Sleep(time.Until(changed.Add((templates.DrainSeconds + 2) * time.Second)))
	for i, streams := range open[removed:] {
		for _, s := range streams {
			if err := s.alive(); err != nil {
				t.Errorf("at port %d, from which nobody was removed: %v", removed+i, err)
			}
		}
	}
}

// deniedAt asks once on a connection of its own.
func deniedAt(t *testing.T, dial dialer, header http.Header) func() error {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, false) }}}
	return func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api/short", nil)
		if err != nil {
			return err
		}
		request.Header = header
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			return fmt.Errorf("got %s", response.Status)
		}
		return nil
	}
}
