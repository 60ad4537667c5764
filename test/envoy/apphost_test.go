package envoy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// listenOn is a server on one address alone, with an HTTP app behind it.
func listenOn(t *testing.T, host string) uint16 {
	t.Helper()
	listener, port := listenAt(t, net.JoinHostPort(host, "0"))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s at %s", r.URL.Path, r.Context().Value(http.LocalAddrContextKey))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return port
}

// echoOn is a TCP app on one address alone.
func echoOn(t *testing.T, host string) uint16 {
	t.Helper()
	listener, port := listenAt(t, net.JoinHostPort(host, "0"))
	go serveEach(listener, func(connection net.Conn) {
		echoed := make([]byte, 4)
		if _, err := connection.Read(echoed); err == nil {
			_, _ = connection.Write(echoed)
		}
	})
	return port
}

// ownAddress is one of this machine's addresses that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// TestAppOnIPv6Loopback: callers, probes and readiness reach an app that listens on ::1 alone.
func TestAppOnIPv6Loopback(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	web := listenOn(t, "::1")
	p.Inbound[0].App, p.Inbound[0].AppHost = web, "::1"
	p.Inbound = append(p.Inbound, ir.Inbound{
		Listen: freePort(t), App: echoOn(t, "::1"), AppHost: "::1", Peers: peers(t, "/valid"), Protocol: ir.TCP,
	})
	probes := freePort(t)
	p.Probes = []ir.Probe{
		{Listen: probes, Path: "/probe/app/liveness", App: web, AppHost: "::1", Target: "/live"},
		{Listen: probes, Path: "/probe/app/startup", Kind: ir.ProbeTCP, App: web, AppHost: "::1"},
	}
	x := startProxy(t, p)
	x.waitReady()
	at := fmt.Sprintf("[::1]:%d", web)
	expect(t, tlsClient(t, agent, "/valid"), fmt.Sprintf("https://127.0.0.1:%d/a", p.Inbound[0].Listen), 200, "/a at "+at)
	stream, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[1].Listen), tlsConfig(t, agent, id("/valid").String()))
	must(t, err)
	defer stream.Close()
	must(t, roundTrip(stream, "", "ping"))
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/probe/app/liveness", probes), 200, "/live at "+at)
	eventually(t, 3*time.Second, "the TCP probe",
		answers(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/probe/app/startup", probes), 200))
	eventually(t, 3*time.Second, "readiness of the app",
		answers(http.DefaultClient, strings.Replace(x.ready, templates.ReadinessPath, templates.AppReadinessPath, 1), 200))
}

// TestAppOnPodIP: callers reach an app on the address that they have called, by every protocol and TLS mode, and no header
// of theirs leads elsewhere.
func TestAppOnPodIP(t *testing.T) {
	t.Parallel()
	own := ownAddress(t)
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	web, elsewhere := listenOn(t, own), listenOn(t, "127.0.0.1")
	for i, in := range []ir.Inbound{
		{App: web, Peers: peers(t, "/valid")},
		{App: web, Peers: peers(t, "/valid"), TLS: ir.Permissive},
		{App: web, TLS: ir.None},
		{App: echoOn(t, own), Peers: peers(t, "/valid"), Protocol: ir.TCP},
	} {
		in.Listen, in.AppHost = freePort(t), ir.PodIP
		p.Inbound = append(p.Inbound[:i], in)
	}
	late, _ := net.ResolveTCPAddr("tcp", net.JoinHostPort(own, fmt.Sprint(freePort(t))))
	p.Inbound = append(p.Inbound, ir.Inbound{Listen: freePort(t), App: uint16(late.Port), AppHost: ir.PodIP, TLS: ir.None})
	x := startProxy(t, p)
	x.waitReady()
	ready := strings.Replace(x.ready, templates.ReadinessPath, templates.AppReadinessPath, 1)
	if status, _, err := get(http.DefaultClient, ready); err != nil || status != 503 {
		t.Errorf("readiness before one of the apps listens: got %d, %v", status, err)
	}
	listener, err := net.ListenTCP("tcp", late)
	must(t, err)
	defer listener.Close()
	eventually(t, 3*time.Second, "readiness of the apps", answers(http.DefaultClient, ready, 200))
	body := fmt.Sprintf("/a at %s:%d", own, web)
	for range 3 {
		expect(t, tlsClient(t, agent, "/valid"), fmt.Sprintf("https://%s:%d/a", own, p.Inbound[0].Listen), 200, body)
		expect(t, tlsClient(t, agent, "/valid"), fmt.Sprintf("https://%s:%d/a", own, p.Inbound[1].Listen), 200, body)
		expect(t, http.DefaultClient, fmt.Sprintf("http://%s:%d/a", own, p.Inbound[1].Listen), 200, body)
		expect(t, http.DefaultClient, fmt.Sprintf("http://%s:%d/a", own, p.Inbound[2].Listen), 200, body)
	}
	stream, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", own, p.Inbound[3].Listen), tlsConfig(t, agent, id("/valid").String()))
	must(t, err)
	defer stream.Close()
	must(t, roundTrip(stream, "", "ping"))

	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d/a", own, p.Inbound[2].Listen), nil)
	must(t, err)
	request.Header.Set("X-Envoy-Original-Dst-Host", fmt.Sprintf("127.0.0.1:%d", elsewhere))
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	got := make([]byte, len(body))
	if _, err := response.Body.Read(got); string(got) != body {
		t.Errorf("with a header of the caller's: got %q, %v", got, err)
	}
}
