package envoy

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// mesh is an API and two callers, each behind its own Envoy. The API allows only "valid".
type mesh struct {
	api      ir.Proxy
	apiProxy *proxy
	valid    caller
	invalid  caller
}

// caller is an Envoy with two ways to the API.
type caller struct {
	proxy       *proxy
	http, http2 string // URLs that the calling app would use
}

func startMesh(t *testing.T) *mesh {
	t.Helper()
	socket := os.Getenv("SPIRE_AGENT_SOCKET")
	if socket == "" {
		socket = startAgent(t, "/api", "/valid", "/invalid").socket
	}
	const ttl = 30 * time.Second
	m := &mesh{api: ir.Proxy{
		ID: id("/api"), SVIDTTL: ttl, AgentSocket: socket,
		Inbound: []ir.Inbound{{Listen: freePort(t), App: startApp(t), Peers: peers(t, "/valid")}},
	}}
	m.apiProxy = startProxy(t, m.api)
	start := func(path string) caller {
		to := address(t, m.api.Inbound[0].Listen)
		p := ir.Proxy{ID: id(path), SVIDTTL: ttl, AgentSocket: socket, Upstreams: []ir.Upstream{
			{Listen: freePort(t), Address: to, Peers: peers(t, "/api")},
			{Listen: freePort(t), Address: to, Peers: peers(t, "/api"), Protocol: ir.HTTP2},
		}}
		return caller{
			proxy: startProxy(t, p),
			http:  fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen),
			http2: fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[1].Listen),
		}
	}
	m.valid, m.invalid = start("/valid"), start("/invalid")
	for _, x := range []*proxy{m.apiProxy, m.valid.proxy, m.invalid.proxy} {
		x.waitReady()
	}
	return m
}

// allow changes who may call the API, on its running Envoy.
func (m *mesh) allow(t *testing.T, names ...string) {
	t.Helper()
	m.api.Inbound = slices.Clone(m.api.Inbound)
	m.api.Inbound[0].Peers = peers(t, names...)
	m.apiProxy.apply(m.api)
}

// expect asks once and wants this status and body.
func expect(t *testing.T, client *http.Client, url string, status int, body string) {
	t.Helper()
	gotStatus, gotBody, err := get(client, url)
	if err != nil || gotStatus != status || gotBody != body {
		t.Errorf("%s: got %d %q %v, want %d %q", url, gotStatus, gotBody, err, status, body)
	}
}

// answers says what is missing until url answers with status.
func answers(client *http.Client, url string, statuses ...int) func() error {
	return func() error {
		got, body, err := get(client, url)
		if err == nil && !slices.Contains(statuses, got) {
			err = fmt.Errorf("got %d %q, want %d", got, body, statuses)
		}
		return err
	}
}
