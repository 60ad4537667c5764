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

// loopbacks are an address of each family.
var loopbacks = map[string]string{"IPv4": "127.0.0.1", "IPv6": "::1"}

// onEveryPort has each kind of listener that others than the app talk to.
func onEveryPort(t *testing.T, a *agent, app *tcpApp) ir.Proxy {
	t.Helper()
	p := apiProxy(t, a, "/valid")
	web := p.Inbound[0].App
	p.Inbound = append(p.Inbound,
		ir.Inbound{Listen: freePort(t), App: web, Peers: peers(t, "/valid"), TLS: ir.Permissive},
		ir.Inbound{Listen: freePort(t), App: web, TLS: ir.None},
		ir.Inbound{Listen: freePort(t), App: app.port, Peers: peers(t, "/valid"), Protocol: ir.TCP},
	)
	p.Probes = []ir.Probe{{Listen: freePort(t), Path: "/probe/app/liveness", App: web, Target: "/"}}
	p.Metrics = ir.Metrics{Port: freePort(t), Include: ir.DefaultStatistics()}
	return p
}

// TestIPFamilies: every listener takes callers of both families, whom log and statistics show as always. With IPv4 alone,
// nothing of IPv6 is asked of the kernel.
func TestIPFamilies(t *testing.T) {
	t.Parallel()
	for _, family := range []ir.IPFamily{ir.IPv4, ir.IPv6, ir.DualStack} {
		t.Run(family.String(), func(t *testing.T) {
			t.Parallel()
			agent, app := startAgent(t, "/api", "/valid"), startTCPApp(t, "hello\n")
			p := onEveryPort(t, agent, app)
			p.IPFamily = family
			x := startProxy(t, p)
			x.waitReady()
			if got := x.statistic(fmt.Sprintf("tcp.inbound_%d.downstream_cx_total", p.Inbound[3].Listen)); got != 0 {
				t.Errorf("readiness opened %d connections that the app would see", got)
			}
			readiness := x.ready[strings.LastIndex(x.ready, ":")+1:]
			for of, host := range loopbacks {
				at := func(port uint16) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
				if family == ir.IPv4 && of == "IPv6" {
					if connection, err := net.Dial("tcp", at(p.Inbound[0].Listen)); err == nil {
						connection.Close()
						t.Error("listens on IPv6")
					}
					continue
				}
				expect(t, http.DefaultClient, "http://"+net.JoinHostPort(host, readiness), 200, "")
				expect(t, http.DefaultClient, "http://"+at(p.Probes[0].Listen)+"/probe/app/liveness", 200, "ok")
				expect(t, tlsClient(t, agent, "/valid"), "https://"+at(p.Inbound[0].Listen), 200, "ok")
				expect(t, tlsClient(t, agent, "/valid"), "https://"+at(p.Inbound[1].Listen), 200, "ok")
				expect(t, http.DefaultClient, "http://"+at(p.Inbound[1].Listen), 200, "ok")
				expect(t, http.DefaultClient, "http://"+at(p.Inbound[2].Listen), 200, "ok")
				stream, err := tls.Dial("tcp", at(p.Inbound[3].Listen), tlsConfig(t, agent, id("/valid").String()))
				must(t, err)
				must(t, roundTrip(stream, "hello\n", "ping"))
				stream.Close()
				if _, err := tls.Dial("tcp", at(p.Inbound[0].Listen), &tls.Config{InsecureSkipVerify: true}); err != nil {
					t.Errorf("a caller without a certificate: %v", err) // denied after the client's part of the handshake
				}
				remote := host + ":"
				if of == "IPv6" {
					remote = "[::1]:"
				}
				for _, event := range []string{"request", "plain_request", "connection", "handshake_refused"} {
					x.waitEvent(event, map[string]string{"remote": remote})
				}
				status, page, err := get(http.DefaultClient, "http://"+at(p.Metrics.Port)+"/stats/prometheus")
				name := fmt.Sprintf(`envoy_listener_ssl_connection_error{envoy_listener_address="0.0.0.0_%d"}`, p.Inbound[0].Listen)
				if err != nil || status != 200 || !strings.Contains(page, name) {
					t.Errorf("statistics lack %s: %d, %v", name, status, err)
				}
			}
		})
	}
}

// TestIPv6Upstream: a name is called by its IPv6 address, if it has one.
func TestIPv6Upstream(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/web")
	api := apiProxy(t, agent, "/web")
	api.IPFamily = ir.IPv6
	callee := startProxy(t, api)
	callee.waitReady()
	byName, err := ir.ParseAddress(fmt.Sprintf("localhost:%d", api.Inbound[0].Listen))
	must(t, err)
	web := ir.Proxy{
		ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, IPFamily: ir.IPv6,
		Upstreams: []ir.Upstream{{Listen: freePort(t), Address: byName, Peers: peers(t, "/api")}},
	}
	startProxy(t, web).waitReady()
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", web.Upstreams[0].Listen), 200, "ok")
	callee.waitEvent("request", map[string]string{"remote": "[::1]:"})
}
