package envoy

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/capture"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestCapturedPorts: an app that listens on all addresses is called on its own port, by IPv4 and IPv6, and whoever
// calls comes to Envoy, which sees their addresses. The gate is open when there are rules, and Envoy is ready. What the
// app calls by name comes to Envoy too, on ports that the app has itself.
func TestCapturedPorts(t *testing.T) {
	t.Parallel()
	agent, l := startAgent(t, "/api", "/valid", "/invalid"), newLink(t)
	hosts := map[string]string{callerIP: calleeIP, "fd77::1": "fd77::2"}
	must(t, l.caller.IP(t.Context(), "address add fd77::1/64 dev eth0 nodad"))
	must(t, l.callee.IP(t.Context(), "address add fd77::2/64 dev eth0 nodad"))
	const app, oldApp, ownApp, echoes, plain, closed = 8080, 8081, 8082, 7070, 9090, 6060
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	addresses := []string{fmt.Sprintf("%s:%d", calleeIP, ownApp), fmt.Sprintf("[fd77::2]:%d", ownApp)}
	for _, port := range []int{app, oldApp, plain, closed} {
		addresses = append(addresses, fmt.Sprintf(":%d", port))
	}
	var own []net.Listener
	for _, address := range addresses {
		listener := listenIn(t, l.callee, address)
		if len(own) < len(hosts) {
			own = append(own, listener)
		}
		go func() { _ = http.Serve(listener, answer) }()
	}
	lines := listenIn(t, l.callee, fmt.Sprintf(":%d", echoes))
	go serveEach(lines, func(connection net.Conn) { _, _ = io.Copy(connection, connection) })
	valid := peers(t, "/valid")
	p := ir.Proxy{
		ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, IPFamily: ir.DualStack, Captured: true,
		Metrics:  ir.Metrics{Port: 15090},
		AppPorts: []ir.AppPort{{Container: "app", Port: app}, {Container: "app", Port: echoes}},
		Inbound: []ir.Inbound{
			{Listen: 8443, App: app, Peers: peers(t, "/valid", "/api")},
			{Listen: 15300, App: oldApp, Peers: valid, TLS: ir.Permissive},
			{Listen: 15301, App: ownApp, AppHost: ir.PodIP, Peers: valid},
			{Listen: 15302, App: echoes, Protocol: ir.TCP, Peers: peers(t, "/valid", "/api")},
			{Listen: 15303, App: plain, TLS: ir.None},
		},
		Probes: []ir.Probe{
			{Listen: ir.ProbePort, Path: "/probe/own", App: ownApp, AppHost: ir.PodIP, Target: "/"},
			{Listen: ir.ProbePort, Path: "/probe/app", App: app, Kind: ir.ProbeTCP},
		},
		// The pod calls itself by names, on ports that its app has on all addresses.
		Upstreams: []ir.Upstream{
			{Address: parsed(t, "127.0.0.1:8443"), Peers: peers(t, "/api")},
			{Address: parsed(t, "127.0.0.1:15302"), Peers: peers(t, "/api"), Protocol: ir.TCP},
		},
		ClusterDomain: "cluster.local",
	}
	for i, port := range []int{app, echoes} {
		var err error
		p.Upstreams[i].Name, p.Upstreams[i].Listen, err = ir.ParseName(fmt.Sprintf("name-%d:%d", i, port), "shop", "cluster.local")
		must(t, err)
	}
	p.PlaceNames()
	p.LeadRestOfNames()
	dns := startDNSIn(t, l.callee)
	dns.set(&backend{address: netip.MustParseAddr(callerIP)})
	x := startProxyIn(t, l.callee, p, dns.use(t))
	x.waitReady()
	_, text, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(x.ready, "http://"), "/ready"), ":")
	readiness, err := strconv.ParseUint(text, 10, 16)
	must(t, err)
	as := func(path string) *http.Client {
		client := tlsClient(t, agent, path)
		client.Transport.(*http.Transport).DialContext = l.caller.Dial
		return client
	}
	at := func(scheme, host string, port int) string {
		return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/"
	}
	denied := func(client *http.Client, url string) {
		t.Helper()
		if status, body, err := get(client, url); err == nil {
			t.Errorf("%s: expected no answer, got %d %q", url, status, body)
		}
	}
	for _, host := range hosts {
		expect(t, clientIn(l.caller), at("http", host, app), 200, "ok") // as long as nothing is captured
		denied(clientIn(l.caller), at("http", host, ir.CapturePort))
	}
	var rules capture.Rules
	for _, r := range p.Redirects() {
		if r.To == ir.ReadinessPort {
			r.To = uint16(readiness)
		}
		rules.Redirects = append(rules.Redirects, capture.Redirect(r))
	}
	for _, r := range p.NameRedirects() {
		rules.Names = append(rules.Names, capture.NameRedirect{
			From: netip.AddrPortFrom(netip.MustParseAddr(r.IP), r.From), To: r.To,
		})
	}
	rules.Open = p.OpenPorts()
	must(t, l.callee.Do(func() error { return capture.Apply(t.Context(), rules, ir.DualStack) }))
	for caller, host := range hosts {
		expect(t, clientIn(l.caller), at("http", host, ir.CapturePort)+"ready", 200, "")
		expect(t, as("/valid"), at("https", host, app), 200, "ok")
		denied(as("/invalid"), at("https", host, app))
		denied(clientIn(l.caller), at("http", host, app))
		expect(t, as("/valid"), at("https", host, oldApp), 200, "ok")
		expect(t, clientIn(l.caller), at("http", host, oldApp), 200, "ok")
		expect(t, as("/valid"), at("https", host, ownApp), 200, "ok")
		denied(clientIn(l.caller), at("http", host, ownApp))
		for _, probe := range []string{"own", "app"} {
			if status, _, err := get(clientIn(l.caller), at("http", host, ir.ProbePort)+"probe/"+probe); err != nil || status != 200 {
				t.Errorf("probe %s at %s: got %d, %v", probe, host, status, err)
			}
		}
		expect(t, clientIn(l.caller), at("http", host, plain), 200, "ok")
		if status, _, err := get(clientIn(l.caller), at("http", host, 15090)+"stats/prometheus"); err != nil || status != 200 {
			t.Errorf("statistics: got %d, %v", status, err)
		}
		denied(clientIn(l.caller), at("http", host, closed))
		must(t, l.caller.Do(func() error {
			stream, err := tls.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(echoes)), tlsConfig(t, agent, id("/valid").String()))
			if err != nil {
				return err
			}
			defer stream.Close()
			return roundTrip(stream, "", "ping")
		}))
		remote := strings.TrimSuffix(net.JoinHostPort(caller, "0"), "0")
		for _, event := range []string{"request", "plain_request", "handshake_refused"} {
			x.waitEvent(event, map[string]string{"remote": remote})
		}
		expect(t, clientIn(l.callee), at("http", host, app), 200, "ok") // from inside, past Envoy
	}
	expect(t, clientIn(l.callee), at("http", "127.0.0.1", app), 200, "ok")

	for _, listener := range own {
		must(t, listener.Close())
	}
	for _, host := range hosts {
		if status, _, err := get(clientIn(l.caller), at("http", host, ir.ProbePort)+"probe/own"); err != nil || status != 503 {
			t.Errorf("the probe of an app that has ended, at %s: got %d, %v", host, status, err)
		}
	}

	if sent := x.events("upstream_request"); len(sent) > 0 {
		t.Errorf("nobody has called a name, but Envoy sent %v", sent)
	}
	expect(t, clientIn(l.callee), at("http", p.Upstreams[0].Loopback, app), 200, "ok")
	x.waitEvent("upstream_request", map[string]string{
		"listener": fmt.Sprintf("upstream_127.0.0.1:%d", p.Upstreams[0].Behind), "host": fmt.Sprintf("127.0.1.1:%d", app), "peer": id("/api").String(),
	})
	must(t, l.callee.Do(func() error {
		stream, err := net.Dial("tcp", net.JoinHostPort(p.Upstreams[1].Loopback, strconv.Itoa(echoes)))
		if err != nil {
			return err
		}
		defer stream.Close()
		return roundTrip(stream, "", "ping")
	}))
	x.waitEvent("upstream_connection", map[string]string{"peer": id("/api").String()})

	// All other ports of a name go on to where it leads without Envoy, also those that the app has itself.
	rest := map[int]string{}
	for _, port := range []int{oldApp, 5432} {
		listener := listenIn(t, l.caller, fmt.Sprintf("%s:%d", callerIP, port))
		rest[port] = fmt.Sprintf("at %d", port)
		go serveEach(listener, func(connection net.Conn) { _, _ = io.WriteString(connection, rest[port]) }) // who speaks first
	}
	called := func(address string) (string, error) {
		var greeting []byte
		err := l.callee.Do(func() error {
			stream, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				return err
			}
			defer stream.Close()
			must(t, stream.SetDeadline(time.Now().Add(10*time.Second)))
			greeting, err = io.ReadAll(stream)
			return err
		})
		return string(greeting), err
	}
	for port, want := range rest {
		for _, up := range p.Upstreams {
			if got, err := called(fmt.Sprintf("%s:%d", up.Loopback, port)); err != nil || got != want {
				t.Errorf("%s port %d: expected %q, got %q, %v", up.Name, port, want, got, err)
			}
		}
	}
	x.waitEvent("upstream_connection", map[string]string{"listener": "passthrough_" + p.Upstreams[0].Loopback})
	if got, err := called(fmt.Sprintf("%s:%d", p.Upstreams[0].Loopback, 5433)); got != "" { // where nobody listens
		t.Errorf("a port that nobody has: got %q, %v", got, err)
	}
	if got, err := called(fmt.Sprintf("127.0.0.1:%d", p.RestOfNames)); got != "" {
		t.Errorf("Envoy's port without a name: got %q, %v", got, err)
	}
	dns.mu.Lock()
	defer dns.mu.Unlock()
	if got, want := slices.Sorted(maps.Keys(dns.asked)), []string{"name-0.shop.svc.cluster.local", "name-1.shop.svc.cluster.local"}; !slices.Equal(got, want) {
		t.Errorf("asked DNS for %q, want %q", got, want)
	}
}
