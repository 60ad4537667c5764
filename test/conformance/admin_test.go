package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestAdminReads: what helps to understand a running Envoy is readable, the key of its SVID is not.
func TestAdminReads(t *testing.T) {
	t.Parallel()
	x, _ := startAPI(t)
	for path, want := range map[string]string{
		"/certs": own("/api"), "/clusters": "spire_agent::", "/config_dump": own("/api"), "/config_dump?include_eds": own("/api"),
		"/listeners": "inbound_", "/ready": "LIVE", "/server_info": `"state": "LIVE"`,
		"/stats": "server.live: 1", "/stats?filter=server.live": "server.live: 1",
		"/stats/prometheus": "envoy_server_live", "/stats?format=prometheus": "envoy_server_live",
	} {
		status, body := send(t, x.admin, "GET", path)
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: got status %d and no %q in %d bytes", path, status, want, len(body))
		}
	}
	const begin = "LS0tLS1CRUdJTiBQUklWQVRF" // "-----BEGIN PRIVATE", as bytes are shown in JSON
	for _, path := range []string{"/config_dump", "/config_dump?resource=dynamic_active_secrets", "/certs"} {
		if _, body := send(t, x.admin, "GET", path); strings.Contains(body, "PRIVATE KEY") || strings.Contains(body, begin) {
			t.Errorf("%s shows the key", path)
		}
	}
	if _, body := send(t, x.admin, "GET", "/config_dump?resource=dynamic_active_secrets"); !strings.Contains(body, "private_key") {
		t.Errorf("expected to see where the key is hidden, got %s", body)
	}
}

// TestAdminChangesNothing: the app's containers reach the admin interface, and whatever runs in them cannot change or
// stop Envoy.
func TestAdminChangesNothing(t *testing.T) {
	t.Parallel()
	x, listen := startAPI(t)
	caller := showing(shared.own.svid(t, "/web"))
	serves(t, listen, caller)
	before := counter(t, x, "listener_manager.listener_create_success")
	if before == 0 {
		t.Error("expected a counter that is not zero")
	}
	for _, path := range []string{
		"/quitquitquit", "/drain_listeners", "/drain_listeners?graceful&inboundonly", "/healthcheck/fail", "/healthcheck/ok", "/logging",
		"/logging?level=trace", "/logging?paths=connection:trace", "/reset_counters", "/runtime", "/runtime_modify?a=b",
		"/cpuprofiler?enable=y", "/heapprofiler?enable=y", "/heap_dump", "/allocprofiler?enable=y", "/contention", "/tap", "/reopen_logs",
		"/stats/recentlookups", "/stats/recentlookups/enable", "/stats/recentlookups/disable", "/stats/recentlookups/clear",
		"/init_dump", "/memory", "/memory/tcmalloc", "/hot_restart_version", "/", "/help",
		// As something that may be read.
		"/quitquitquit?/stats", "/quitquitquit;/stats", "/stats/../quitquitquit", "/stats/%2e%2e/quitquitquit",
		"/ready/../quitquitquit", "/stats/prometheus/../../quitquitquit", "//quitquitquit", "/%71uitquitquit", "/quitquitquit/stats",
		"/stats/recentlookups/enable?/stats", "/stats%0a/quitquitquit",
	} {
		for _, method := range []string{"POST", "GET", "PUT"} {
			if status, body := send(t, x.admin, method, path); status != http.StatusForbidden {
				t.Errorf("%s %s: got status %d %q, want 403", method, path, status, body)
			}
		}
	}
	// What may be read, asked for in another way, does not do more.
	for _, path := range []string{"/stats?/../quitquitquit", "/stats?level=trace", "/config_dump?/quitquitquit", "/ready"} {
		send(t, x.admin, "POST", path)
	}

	if !x.Running() {
		t.Fatal("Envoy has ended")
	}
	if status, body := send(t, x.admin, "GET", "/ready"); status != 200 || body != "LIVE\n" {
		t.Errorf("got %d %q, want it live", status, body)
	}
	if after := counter(t, x, "listener_manager.listener_create_success"); after < before {
		t.Errorf("a counter fell from %d to %d", before, after)
	}
	serves(t, listen, caller)
	x.refuses(t, listen, showing(shared.own.svid(t, "/other")), "", "SAN_match")
	if strings.Contains(x.Out.String(), "[trace]") || strings.Contains(x.Out.String(), "[debug]") {
		t.Error("Envoy logs more than before")
	}
}

// TestLoopbackOnly: from outside the pod neither the admin interface nor what is there for the app can be reached.
func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	ups := []ir.Upstream{
		{Listen: port(t), Address: address(t, port(t)), Peers: peers(t, "/api")},
		{Listen: port(t), Address: address(t, port(t)), Peers: peers(t, "/api")},
		{Listen: port(t), Address: address(t, port(t)), Peers: peers(t, "/api"), Protocol: ir.TCP},
	}
	x := startProxy(t, "/caller", ir.Proxy{Upstreams: ups})
	others := []string{"127.0.0.2", "::1"}
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			others = append(others, network.IP.String())
		}
	}
	for _, port := range []uint16{x.admin, ups[0].Listen, ups[1].Listen, ups[2].Listen} {
		for _, host := range append(others, "127.0.0.1") {
			connection, err := net.DialTimeout("tcp", net.JoinHostPort(host, fmt.Sprint(port)), 5*time.Second)
			if err == nil {
				connection.Close()
			}
			switch {
			case host == "127.0.0.1" && err != nil:
				t.Error(err)
			case host != "127.0.0.1" && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EADDRNOTAVAIL):
				t.Errorf("port %d of %s: got %v, want that nobody listens", port, host, err)
			}
		}
	}
}

// send makes a request whose path goes out as it is, and returns status and body.
func send(t *testing.T, port uint16, method, path string) (int, string) {
	t.Helper()
	connection, err := net.Dial("tcp", local(port))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: envoy.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path)
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}

func counter(t *testing.T, x *proxy, name string) int {
	t.Helper()
	_, body := send(t, x.admin, "GET", "/stats?filter="+regexp.QuoteMeta(name))
	var value int
	if _, err := fmt.Sscanf(body, name+": %d", &value); err != nil {
		t.Fatalf("expected the counter %s, got %q", name, body)
	}
	return value
}
