package envoy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// probed is an app with something to ask by every kind of probe.
type probed struct {
	x          *proxy
	http, grpc uint16 // ports of the probes
	health     *health.Server
	app        uint16      // of the probe by HTTP
	authority  chan string // of gRPC probes
	grpcApp    uint16
	stopTCP    func()
}

// startProbed keeps few statistics, because an answer to a TCP probe depends on some.
func startProbed(t *testing.T) probed {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Saw-Target", r.URL.RequestURI())
		w.Header().Set("Saw-Header", r.Header.Get("X-Probe"))
		w.Header().Set("Saw-Host", r.Host)
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Envoy") {
				t.Errorf("the app saw %s", name)
			}
		}
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	plain, secured := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secured.Close)
	tcp, _ := listen(t)
	listener, _ := listen(t)
	authority := make(chan string, 10)
	server, checked := grpc.NewServer(grpc.UnaryInterceptor(func(
		ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
	) (any, error) {
		seen, _ := metadata.FromIncomingContext(ctx)
		authority <- strings.Join(seen[":authority"], " and ")
		return handler(ctx, request)
	})), health.NewServer()
	healthpb.RegisterHealthServer(server, checked)
	go server.Serve(listener)
	t.Cleanup(server.Stop)

	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	out := probed{http: freePort(t), grpc: freePort(t), health: checked, stopTCP: func() { tcp.Close() }}
	port := func(a net.Addr) uint16 { return uint16(a.(*net.TCPAddr).Port) }
	ask := func(path string, kind ir.ProbeKind, app uint16, target string) ir.Probe {
		own := kind.HasTarget() && path != "addressed"
		return ir.Probe{Listen: out.http, Path: "/probe/app/" + path, Kind: kind, App: app, Target: target, OwnHost: own}
	}
	out.app, out.grpcApp, out.authority = port(plain.Listener.Addr()), port(listener.Addr()), authority
	p.Probes = []ir.Probe{
		ask("startup", ir.ProbeTCP, port(tcp.Addr()), ""),
		ask("liveness", ir.ProbeHTTP, port(plain.Listener.Addr()), `/healthz?full=%20&x=\1`),
		ask("readiness", ir.ProbeHTTPS, port(secured.Listener.Addr()), "/ready"),
		ask("moved", ir.ProbeHTTP, port(plain.Listener.Addr()), "/moved"),
		ask("broken", ir.ProbeHTTP, port(plain.Listener.Addr()), "/broken"),
		ask("addressed", ir.ProbeHTTP, port(plain.Listener.Addr()), "/addressed"),
		ask("absent", ir.ProbeHTTP, freePort(t), "/"),
		{Listen: out.grpc, Kind: ir.ProbeGRPC, App: port(listener.Addr())},
	}
	p.Metrics = ir.Metrics{Port: freePort(t), Include: []string{"server.live"}}
	out.x = startProxy(t, p)
	out.x.waitReady()
	return out
}

func TestProbes(t *testing.T) {
	t.Parallel()
	p := startProbed(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(path string) *http.Response {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", p.http, path), nil)
		must(t, err)
		request.Header.Set("X-Probe", "mine")
		request.Host = "app.example.org"
		response, err := client.Do(request)
		must(t, err)
		response.Body.Close()
		return response
	}
	for _, test := range []struct {
		path   string
		status int
		target string
	}{
		{"/probe/app/liveness", 200, `/healthz?full=%20&x=\1`},
		{"/probe/app/readiness", 200, "/ready"},
		{"/probe/app/moved", 302, "/moved"},
		{"/probe/app/broken", 500, "/broken"},
		{"/probe/app/absent", 503, ""},
		{"/probe/app/liveness?x=1", 404, ""},
		{"/probe/app/liveness/", 404, ""},
		{"/probe/app/startup/x", 404, ""},
		{"/probe/app", 404, ""},
		{"/healthz", 404, ""},
		{"/", 404, ""},
		{"/grpc.health.v1.Health/Check", 404, ""},
	} {
		response := ask(test.path)
		if response.StatusCode != test.status || response.Header.Get("Saw-Target") != test.target {
			t.Errorf("%s: got %s from %q, want %d from %q", test.path, response.Status, response.Header.Get("Saw-Target"), test.status, test.target)
		}
		if test.target != "" && (response.Header.Get("Saw-Header") != "mine" || response.Header.Get("Saw-Host") != "app.example.org") {
			t.Errorf("%s: headers did not pass: %v", test.path, response.Header)
		}
		if got := response.Header.Get("Location"); got != "" {
			t.Errorf("%s: the kubelet would follow to %s", test.path, got)
		}
	}

	// Without a Host of its own a probe names the address that the kubelet asks, and the app's port.
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/probe/app/addressed", p.http))
	must(t, err)
	response.Body.Close()
	if got, want := response.Header.Get("Saw-Host"), fmt.Sprintf("127.0.0.1:%d", p.app); got != want {
		t.Errorf("the app saw the Host %q, want %q", got, want)
	}
	response, err = http.Post(fmt.Sprintf("http://127.0.0.1:%d/probe/app/liveness", p.http), "text/plain", nil)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %s", response.Status)
	}
	startup := fmt.Sprintf("http://127.0.0.1:%d/probe/app/startup", p.http)
	eventually(t, 3*time.Second, "the TCP probe", answers(client, startup, 200))
	p.stopTCP()
	eventually(t, 10*time.Second, "the failure of the TCP probe", answers(client, startup, 503))
	if lines := p.x.events(""); len(lines) > 0 {
		t.Errorf("probes are logged: %v", lines)
	}
}

func TestGRPCProbe(t *testing.T) {
	t.Parallel()
	p := startProbed(t)
	connection, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", p.grpc), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client := healthpb.NewHealthClient(connection)
	p.health.SetServingStatus("shop", healthpb.HealthCheckResponse_NOT_SERVING)
	for service, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"": healthpb.HealthCheckResponse_SERVING, "shop": healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		answer, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || answer.GetStatus() != want {
			t.Errorf("service %q: %v, %v, want %s", service, answer, err, want)
		}
		if got, want := <-p.authority, fmt.Sprintf("127.0.0.1:%d", p.grpcApp); got != want {
			t.Errorf("the app saw the authority %q, want %q", got, want)
		}
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "unknown"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	// Everything else of the app stays closed.
	if _, err := client.List(ctx, &healthpb.HealthListRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("another method: %v", err)
	}
	if lines := p.x.events(""); len(lines) > 0 {
		t.Errorf("probes are logged: %v", lines)
	}
}

// TestAppReadiness waits for the app as well, while readiness alone does not.
func TestAppReadiness(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: freePort(t), Peers: peers(t, "/valid")},
	}}
	x := startProxy(t, p)
	x.waitReady()
	both := strings.TrimSuffix(x.ready, templates.ReadinessPath) + templates.AppReadinessPath
	eventually(t, 5*time.Second, "no readiness of the app", answers(http.DefaultClient, both, 503))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].App))
	must(t, err)
	t.Logf("ready %s after the app listens", eventually(t, 3*time.Second, "readiness of the app", answers(http.DefaultClient, both, 200)))
	listener.Close()
	eventually(t, 10*time.Second, "the end of the app's readiness", answers(http.DefaultClient, both, 503))
	expect(t, http.DefaultClient, x.ready, 200, "")

	client := startProxy(t, ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, p.Inbound[0].Listen), Peers: peers(t, "/api")},
	}})
	client.waitReady()
	expect(t, http.DefaultClient, strings.Replace(client.ready, templates.ReadinessPath, templates.AppReadinessPath, 1), 200, "")
}
