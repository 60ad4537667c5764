package conformance

import (
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestPortsForThePlatform: readiness, probes and statistics answer what they are for, on every address, and are no way
// to the app or to the admin interface behind them.
func TestPortsForThePlatform(t *testing.T) {
	t.Parallel()
	server := startApp(t)
	probes, metrics := port(t), port(t)
	x := startProxy(t, "/api", ir.Proxy{
		Inbound: []ir.Inbound{{Listen: port(t), App: server.port, Peers: peers(t, "/web")}},
		Probes: []ir.Probe{
			{Listen: probes, Path: "/probe/app/liveness", Kind: ir.ProbeHTTP, App: server.port, Target: "/health?deep=1"},
			{Listen: probes, Path: "/probe/app/readiness", Kind: ir.ProbeTCP, App: server.port},
		},
		Metrics: ir.Metrics{Port: metrics},
	})
	const app, nothing = "the app", ""
	tests := []struct {
		port   uint16
		method string
		path   string
		status int
		answer string
	}{
		{x.ready, "GET", "/ready", 200, nothing},
		{x.ready, "GET", "/ready/app", 200, nothing},
		{x.ready, "POST", "/ready", 404, nothing},
		{x.ready, "GET", "/ready?x", 404, nothing},
		{x.ready, "GET", "/ready/../quitquitquit", 404, nothing},
		{x.ready, "POST", "/quitquitquit", 404, nothing},
		{x.ready, "GET", "/stats/prometheus", 404, nothing},
		{x.ready, "GET", "/", 404, nothing},

		{probes, "GET", "/probe/app/liveness", 200, app},
		{probes, "GET", "/probe/app/readiness", 200, nothing},
		{probes, "GET", "/probe/app/liveness?x", 404, nothing},
		{probes, "GET", "/probe/app/liveness/", 404, nothing},
		{probes, "GET", "/probe/app/liveness/x", 404, nothing},
		{probes, "GET", "/probe/app/x/../liveness", 404, nothing},
		{probes, "GET", "//probe/app/liveness", 404, nothing},
		{probes, "GET", "/probe/app/%6civeness", 404, nothing},
		{probes, "GET", "/health", 404, nothing},
		{probes, "GET", "/health?deep=1", 404, nothing},
		{probes, "GET", "/", 404, nothing},
		{probes, "POST", "/", 404, nothing},
		{probes, "POST", "/probe/app/liveness", 404, nothing},
		{probes, "DELETE", "/probe/app/liveness", 404, nothing},
		{probes, "GET", "/ready", 404, nothing},
		{probes, "POST", "/quitquitquit", 404, nothing},

		{metrics, "GET", "/stats/prometheus", 200, "envoy_server_live"},
		{metrics, "GET", "/stats/prometheus?x", 404, nothing},
		{metrics, "POST", "/stats/prometheus", 404, nothing},
		{metrics, "GET", "/stats/prometheus/../../config_dump", 404, nothing},
		{metrics, "GET", "/stats/prometheus/", 404, nothing},
		{metrics, "GET", "/stats", 404, nothing},
		{metrics, "GET", "/config_dump", 404, nothing},
		{metrics, "GET", "/certs", 404, nothing},
		{metrics, "POST", "/quitquitquit", 404, nothing},
		{metrics, "POST", "/logging?level=trace", 404, nothing},
		{metrics, "GET", "/", 404, nothing},
	}
	names := map[uint16]string{x.ready: "readiness", probes: "probes", metrics: "metrics"}
	for _, test := range tests {
		t.Run(names[test.port]+" "+test.method+" "+test.path, func(t *testing.T) {
			before := server.requests.Load()
			status, body := send(t, test.port, test.method, test.path)
			want := test.answer
			if want == app {
				want = `"URI":"/health?deep=1"`
			}
			if status != test.status || !strings.Contains(body, want) || want == nothing && body != nothing {
				t.Errorf("got status %d %.100q, want %d %q", status, body, test.status, want)
			}
			if reached := server.requests.Load() > before; reached != (test.answer == app) {
				t.Errorf("the app was reached: %t", reached)
			}
		})
	}
	if log := x.Out.String(); strings.Contains(log, `"event"`) {
		t.Errorf("questions of the platform are in the access log:\n%s", log)
	}
}
