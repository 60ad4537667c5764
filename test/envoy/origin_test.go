package envoy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// startOriginApp answers with where a request came from, as far as the app can tell.
func startOriginApp(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Saw", strings.Join(r.Header.Values("X-Forwarded-Proto"), "|")+" "+
			strings.ReplaceAll(strings.Join(r.Header.Values("X-Forwarded-For"), "|"), " ", ""))
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Envoy") {
				t.Errorf("the app saw %s", name)
			}
		}
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return port
}

// origin asks once with X-Forwarded-Proto and -For, and returns what the app saw.
func origin(t *testing.T, url, proto, from string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	for name, value := range map[string]string{"X-Forwarded-Proto": proto, "X-Forwarded-For": from} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	must(t, err)
	response.Body.Close()
	return response.Header.Get("Saw")
}

// TestOrigin: the app learns the protocol that the end of TLS wrote, and each hop that a request took; who may write
// what comes from further away depends on the port.
func TestOrigin(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/api", "/web", "/edge"), startOriginApp(t)
	inbound := func(in ir.Inbound) ir.Inbound {
		in.Listen, in.App = freePort(t), app
		return in
	}
	api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		inbound(ir.Inbound{Peers: peers(t, "/web", "/edge")}),
		inbound(ir.Inbound{Peers: peers(t, "/web"), TLS: ir.Permissive}),
		inbound(ir.Inbound{TLS: ir.None, TrustedProxies: 1}),
		inbound(ir.Inbound{TLS: ir.None}),
		inbound(ir.Inbound{Clients: ir.NoRequest}),
		inbound(ir.Inbound{Clients: ir.NoRequest, TrustedProxies: 1}),
	}}
	callee := startProxy(t, api)
	web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api")},
		{Listen: freePort(t), Address: address(t, api.Inbound[1].Listen), Peers: peers(t, "/api")},
	}}
	edge := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{
			{Listen: freePort(t), TLS: ir.None},
			{Listen: freePort(t), TLS: ir.None, TrustedProxies: 2},
			{Listen: freePort(t), Clients: ir.NoRequest},
			{Listen: freePort(t), Clients: ir.NoRequest, TrustedProxies: 1},
		},
		Upstreams: []ir.Upstream{{Match: match(t, "/"), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api")}},
	}
	gateway := startProxy(t, edge)
	for _, x := range []*proxy{callee, startProxy(t, web), gateway} {
		x.waitReady()
	}
	at := func(scheme string, port uint16) string { return fmt.Sprintf("%s://127.0.0.1:%d/", scheme, port) }
	sidecar, permissive := at("http", web.Upstreams[0].Listen), at("http", web.Upstreams[1].Listen)
	const far = "192.0.2.7"
	hop := strings.TrimPrefix(origin(t, sidecar, "", ""), "https ") // how Envoy calls a neighbour on loopback
	if net.ParseIP(hop) == nil {
		t.Fatalf("the app saw a caller at %q", hop)
	}
	for _, test := range []struct{ name, url, proto, from, want string }{
		{"a peer", sidecar, "", "", "https " + hop},
		{"a peer behind TLS", sidecar, "https", far, "https " + far + "," + hop},
		{"a peer behind plain text", sidecar, "http", far, "http " + far + "," + hop},
		{"a peer at a permissive port", permissive, "", "", "https " + hop},
		{"a peer behind plain text, at a permissive port", permissive, "http", "", "http " + hop},
		{"plain text at a permissive port", at("http", api.Inbound[1].Listen), "", "", "http " + hop},
		{"an ingress at a permissive port", at("http", api.Inbound[1].Listen), "https", far, "https " + far + "," + hop},
		{"plain text", at("http", api.Inbound[2].Listen), "", "", "http " + hop},
		{"an ingress in plain text", at("http", api.Inbound[2].Listen), "https", far, "https " + far + "," + hop},
		{"an ingress that is not trusted", at("http", api.Inbound[3].Listen), "https", far, "http " + far + "," + hop},
		{"anybody with TLS", at("https", api.Inbound[4].Listen), "http", far, "https " + far + "," + hop},
		{"a trusted proxy with TLS", at("https", api.Inbound[5].Listen), "http", far, "http " + far + "," + hop},

		{"anybody at a gateway", at("http", edge.Inbound[0].Listen), "", "", "http " + hop + "," + hop},
		{"anybody forges at a gateway", at("http", edge.Inbound[0].Listen), "https", far, "http " + far + "," + hop + "," + hop},
		{"an ingress before a gateway", at("http", edge.Inbound[1].Listen), "https", far, "https " + far + "," + hop + "," + hop},
		{"TLS at a gateway", at("https", edge.Inbound[2].Listen), "", "", "https " + hop + "," + hop},
		{"anybody forges with TLS at a gateway", at("https", edge.Inbound[2].Listen), "http", far, "https " + far + "," + hop + "," + hop},
		{"a proxy with TLS before a gateway", at("https", edge.Inbound[3].Listen), "http", far, "http " + far + "," + hop + "," + hop},
	} {
		if got := origin(t, test.url, test.proto, test.from); got != test.want {
			t.Errorf("%s: the app saw %q, want %q", test.name, got, test.want)
		}
	}

	// The log has the address that Envoy saw, but for what trusted proxies say.
	origin(t, sidecar+"logged", "", far)
	callee.waitEvent("request", map[string]string{"path": "/logged", "remote": "127.0.0.1:"})
	origin(t, at("http", api.Inbound[1].Listen)+"logged", "", far)
	callee.waitEvent("plain_request", map[string]string{"path": "/logged", "remote": "127.0.0.1:"})
	origin(t, at("http", edge.Inbound[1].Listen), "https", "198.51.100.1, 192.0.2.9, 192.0.2.8")
	gateway.waitEvent("request", map[string]string{"remote": "192.0.2.9:"})
}

// TestHTTP10: it is answered on every port, with and without a Host.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	p := apiProxy(t, startAgent(t, "/api"), "/valid")
	p.Probes = []ir.Probe{{Listen: freePort(t), Path: "/probe/app/liveness", App: p.Inbound[0].App, Target: "/"}}
	p.Metrics = ir.Metrics{Port: freePort(t), Include: []string{"http."}}
	x := startProxy(t, p)
	x.waitReady()
	port := func(url string) (out uint16) {
		_, err := fmt.Sscanf(strings.SplitN(url, ":", 3)[2], "%d", &out)
		must(t, err)
		return out
	}
	for _, ask := range []struct {
		port uint16
		path string
	}{
		{port(m.valid.http), "/"}, {port(m.valid.http2), "/"}, {p.Probes[0].Listen, "/probe/app/liveness"}, {port(x.ready), "/ready"},
		{p.Metrics.Port, "/stats/prometheus"},
	} {
		for _, row := range []exchange{
			{line: "GET " + ask.path + " HTTP/1.0"}, {line: "GET " + ask.path + " HTTP/1.0", noHost: true},
		} {
			connection, err := dialTo(ask.port)()
			must(t, err)
			if got, err := row.complete().ask(connection); err != nil || got.First != "HTTP/1.0 200 OK" {
				t.Errorf("%s at port %d, without Host %t: %q, %v", ask.path, ask.port, row.noHost, got.First, err)
			}
		}
	}
}
