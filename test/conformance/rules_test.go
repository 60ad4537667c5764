package conformance

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/pathtricks"
)

// TestPathsOfRules: a caller that may ask for what is below one path reaches nothing else through its own Envoy, by no
// spelling of a path that servers read otherwise.
func TestPathsOfRules(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go pathtricks.Serve(listener)
	below, err := ir.ParsePath("/v1/*")
	must(t, err)
	app := uint16(listener.Addr().(*net.TCPAddr).Port)
	rule := ir.Rule{Item: 1, Peer: peers(t, "/caller")[0], Methods: []string{"GET"}, Paths: []ir.Path{below}}
	in := ir.Inbound{Listen: port(t), App: app, Peers: peers(t, "/other"), Rules: []ir.Rule{rule}}
	x := startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}})
	up := ir.Upstream{Listen: port(t), Address: address(t, in.Listen), Peers: peers(t, "/api")}
	startProxy(t, "/caller", ir.Proxy{Upstreams: []ir.Upstream{up}})

	caller := &pathtricks.Caller{Dial: func() (net.Conn, error) { return net.Dial("tcp", local(up.Listen)) }}
	t.Cleanup(caller.Close)
	answers, wrong, err := caller.Try(pathtricks.Tricks("/v1/", "/admin"), "/v1/")
	must(t, err)
	for _, each := range wrong {
		t.Error(each)
	}
	if answers[200] < 100 || answers[403] < 1000 {
		t.Errorf("answers %v: too few to tell", answers)
	}
	for request, want := range map[string]int{"GET /v1/a?b": 200, "PUT /v1/a": 403, "GET /v2": 403} {
		method, path, _ := strings.Cut(request, " ")
		if status, _, err := caller.Ask(method, path, "X-HTTP-Method-Override: GET"); err != nil || status != want {
			t.Errorf("%s: %d, %v, want %d", request, status, err, want)
		}
	}
	x.event(t, map[string]string{
		"method": "PUT", "path": "/v1/a", "status": "403", "peer": own("/caller"),
		"rule": fmt.Sprintf("inbound_%d.peers[1]", in.Listen),
	})
}
