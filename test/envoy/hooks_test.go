package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// hooked is an app with HTTP hooks, on one port in plain text and on one with TLS. It keeps what it was asked for.
type hooked struct {
	x       *proxy
	p       ir.Proxy
	targets chan string // method, target and Host
}

func startHooked(t *testing.T) hooked {
	t.Helper()
	out := hooked{targets: make(chan string, 10)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.targets <- fmt.Sprintf("%s %s of %s", r.Method, r.URL.RequestURI(), r.Host)
		if r.URL.Path == "/teapot" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	plain, secured := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secured.Close)
	broken, brokenPort := listen(t)
	go serveEach(broken, func(net.Conn) {})
	agent := startAgent(t, "/api")
	out.p = apiProxy(t, agent, "/valid")
	port := func(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
	hook := func(path string, kind ir.ProbeKind, app uint16, target string) {
		out.p.Probes = append(out.p.Probes, ir.Probe{
			Listen: ir.HookPort, Path: "/hook/app/" + path, Kind: kind, App: app, Target: target,
		})
	}
	hook("preStop", ir.ProbeHTTP, port(plain.Listener), "/shutdown?wait=1")
	hook("secured", ir.ProbeHTTPS, port(secured.Listener), "/warm")
	hook("teapot", ir.ProbeHTTP, port(plain.Listener), "/teapot")
	hook("absent", ir.ProbeHTTP, freePort(t), "/")
	hook("broken", ir.ProbeHTTP, brokenPort, "/")
	out.x = startProxy(t, out.p)
	out.x.waitReady()
	return out
}

// kubelet runs hooks as the kubelet does: with redirects, and without a look at the answer.
func kubelet(host string, port int, path string) error {
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Get(fmt.Sprintf("http://%s%s", net.JoinHostPort(host, fmt.Sprint(port)), path))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// TestHooks: a hook is what it would be without Envoy, for the app and for the kubelet. To the kubelet every answer is a
// success, so Envoy must not answer for an app that does not.
func TestHooks(t *testing.T) {
	t.Parallel()
	h := startHooked(t)
	port := h.x.hookPort
	for path, want := range map[string]string{
		"/hook/app/preStop": fmt.Sprintf("GET /shutdown?wait=1 of 127.0.0.1:%d", h.p.Probes[0].App),
		"/hook/app/secured": fmt.Sprintf("GET /warm of 127.0.0.1:%d", h.p.Probes[1].App),
		"/hook/app/teapot":  fmt.Sprintf("GET /teapot of 127.0.0.1:%d", h.p.Probes[2].App),
	} {
		if err := kubelet("127.0.0.1", int(port), path); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := <-h.targets; got != want {
			t.Errorf("%s: the app saw %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"/hook/app/absent", "/hook/app/broken", "/hook/app/unknown", "/", "/shutdown"} {
		if err := kubelet("127.0.0.1", int(port), path); err == nil || !strings.Contains(err.Error(), "Location") {
			t.Errorf("%s: expected an error, got %v", path, err)
		}
	}
	if lines := h.x.events(""); len(lines) > 0 {
		t.Errorf("hooks are logged: %v", lines)
	}
}
