package envoy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/templates/verdict"
)

// TestReadinessWaitsForTheSVID: before it, neither probe nor port answers; after it, both do within about a second,
// which is the longest pause between two questions to the agent.
func TestReadinessWaitsForTheSVID(t *testing.T) {
	t.Parallel()
	agent := startAgent(t)
	p := apiProxy(t, agent, "/valid")
	x := startProxy(t, p)
	eventually(t, 5*time.Second, "Envoy's first question to the agent", func() error {
		if !strings.Contains(x.out.String(), "not authorized") {
			return fmt.Errorf("output %s", x.out)
		}
		return nil
	})
	if status, _, err := get(http.DefaultClient, x.ready); err == nil && status == http.StatusOK {
		t.Error("ready without an SVID")
	}
	port := fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen)
	if connection, err := net.Dial("tcp", port); err == nil {
		connection.Close()
		t.Error("the data port accepts connections without an SVID")
	}
	agent.register("/api")
	took := x.waitReady()
	if took > 2*time.Second {
		t.Errorf("ready %s after the agent had the SVID", took)
	}
	t.Logf("ready %s after the agent had the SVID", took)
	expect(t, tlsClient(t, agent, "/valid"), "https://"+port, 200, "ok")
}

func TestReadinessEndpoint(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	x := startProxy(t, apiProxy(t, agent, "/valid"))
	t.Logf("ready %s after the start", x.waitReady())
	base := strings.TrimSuffix(x.ready, "/ready")
	for _, path := range []string{"/", "/ready/", "/ready?x=1", "/readyz", "/stats", "/quitquitquit"} {
		expect(t, http.DefaultClient, base+path, 404, "")
	}
	response, err := http.Post(x.ready, "text/plain", nil)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %s", response.Status)
	}
	time.Sleep(500 * time.Millisecond) // longer than the log takes to appear
	if got := x.out.String(); strings.Contains(got, "/ready") || strings.Contains(got, `"event"`) {
		t.Errorf("probes are logged:\n%s", got)
	} else if strings.Contains(got, "[warning]") {
		t.Errorf("it starts with warnings:\n%s", got)
	}
}

// TestReadinessOfABadListener: Envoy by itself would call this ready.
func TestReadinessOfABadListener(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	x := startProxy(t, p, func(dir string) {
		must(t, os.WriteFile(filepath.Join(dir, templates.ListenersFile), []byte(`{"resources":[]}`), 0o644))
	})
	eventually(t, 5*time.Second, "503", answers(http.DefaultClient, x.ready, 503))
	expect(t, http.DefaultClient, x.ready, 503, fmt.Sprintf("Envoy does not accept connections on 127.0.0.1:%d: its log says why\n", p.Inbound[0].Listen))
	expect(t, http.DefaultClient, x.admin+"/ready", 200, "LIVE\n")
	x.apply(p)
	t.Logf("ready %s after the good file", x.waitReady())
}

// TestReadinessSaysWhatIsMissing: a 503 names the addresses that do not answer, and only that has a body.
func TestReadinessSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	p.Inbound[0].App = freePort(t) // where nothing listens
	x := startProxy(t, p)
	x.waitReady()
	expect(t, http.DefaultClient, x.ready, 200, "")
	missing := fmt.Sprintf("nothing listens on 127.0.0.1:%d, or Envoy itself is not ready: see /ready\n", p.Inbound[0].App)
	eventually(t, 5*time.Second, "503", answers(http.DefaultClient, x.ready+"/app", 503))
	expect(t, http.DefaultClient, x.ready+"/app", 503, missing)
	expect(t, http.DefaultClient, strings.TrimSuffix(x.ready, "/ready")+"/other", 404, "")
	app, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].App))
	must(t, err)
	defer app.Close()
	eventually(t, 10*time.Second, "200", answers(http.DefaultClient, x.ready+"/app", 200))
	expect(t, http.DefaultClient, x.ready+"/app", 200, "")
}

// TestFirstConfigurationRejected: an Envoy that rejects what it is given first says so on its page, by which the pod is
// told of.
func TestFirstConfigurationRejected(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	taken, err := net.Listen("tcp", "127.0.0.1:0") // without which Envoy cannot bind
	must(t, err)
	defer taken.Close()
	p.Upstreams = []ir.Upstream{{
		Listen:  uint16(taken.Addr().(*net.TCPAddr).Port),
		Address: address(t, freePort(t)),
		Peers:   peers(t, "/api"),
	}}
	x := startProxy(t, p)
	eventually(t, 10*time.Second, "a verdict", func() error {
		status, page, err := get(http.DefaultClient, strings.TrimSuffix(x.ready, templates.ReadinessPath)+templates.UpdatesPath)
		if err != nil || status != http.StatusOK {
			return errors.Join(err, fmt.Errorf("status %d", status))
		}
		updates, err := templates.ParseUpdates([]byte(page))
		if err != nil {
			return err
		}
		want := verdict.Verdict{Outcome: verdict.Rejected, Files: []string{templates.ListenersFile}}
		if got := verdict.First(updates); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("got %+v of %+v", got, updates)
		}
		return nil
	})
	taken.Close() // whoever listened there would pass for Envoy
	eventually(t, 10*time.Second, "503", answers(http.DefaultClient, x.ready, 503))
	expect(t, http.DefaultClient, x.ready, 503, fmt.Sprintf(
		"Envoy does not accept connections on one of 127.0.0.1:%d, 127.0.0.1:%d: its log says why\n", p.Inbound[0].Listen, p.Upstreams[0].Listen))
}

// TestAdminOnlyReads: the app's container reaches the admin interface, and must not be able to change Envoy.
func TestAdminOnlyReads(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	x := startProxy(t, apiProxy(t, agent, "/valid"))
	x.waitReady()
	for _, path := range []string{
		"/certs", "/clusters", "/clusters?format=json", "/config_dump", "/config_dump?include_eds", "/listeners", "/ready",
		"/server_info", "/stats", "/stats?format=prometheus", "/stats/prometheus", "/stats/prometheus?usedonly",
	} {
		if status, _, err := get(http.DefaultClient, x.admin+path); err != nil || status != 200 {
			t.Errorf("%s: %d %v", path, status, err)
		}
	}
	for _, path := range []string{
		"/", "/help", "/quitquitquit", "/drain_listeners", "/healthcheck/fail", "/logging", "/logging?level=trace", "/reset_counters",
		"/runtime_modify", "/cpuprofiler", "/heapprofiler", "/tap", "/stats/recentlookups/enable", "/stats/recentlookups/clear",
		"/quitquitquit?/stats", "/stats/../quitquitquit", "/reopen_logs", "/init_dump", "/memory/trim",
	} {
		response, err := http.Post(x.admin+path, "text/plain", nil)
		if err != nil {
			t.Errorf("POST %s: %v", path, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %s, want 403", path, response.Status)
		}
	}
	expect(t, http.DefaultClient, x.ready, 200, "")
}
