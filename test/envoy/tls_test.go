package envoy

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestKeyAgreement: the configuration says nothing of it, because Envoy's default is what is wanted, on both sides.
func TestKeyAgreement(t *testing.T) {
	t.Parallel()
	want := []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}
	agent := startAgent(t, "/api", "/web")
	api := apiProxy(t, agent, "/web")
	x := startProxy(t, api)
	x.waitReady()
	at := fmt.Sprintf("127.0.0.1:%d", api.Inbound[0].Listen)
	for _, curves := range [][]tls.CurveID{want, {tls.X25519}, {tls.CurveP256}} {
		config := tlsConfig(t, agent, id("/web").String())
		config.CurvePreferences = curves
		connection, err := tls.Dial("tcp", at, config)
		must(t, err)
		if got := connection.ConnectionState(); got.CurveID != curves[0] || got.Version != tls.VersionTLS13 {
			t.Errorf("offered %v, agreed on %v of TLS %x", curves, got.CurveID, got.Version)
		}
		connection.Close()
	}
	config := tlsConfig(t, agent, id("/web").String())
	config.CurvePreferences = []tls.CurveID{tls.CurveP384, tls.CurveP521}
	if connection, err := tls.Dial("tcp", at, config); err == nil {
		t.Errorf("agreed on %v", connection.ConnectionState().CurveID)
	}
	x.waitEvent("handshake_refused", map[string]string{"reason": "NO_SHARED_GROUP"})

	hello := make(chan *tls.ClientHelloInfo, 1)
	server := tlsConfig(t, agent, id("/api").String())
	server.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		select {
		case hello <- info:
		default:
		}
		return nil, nil
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	must(t, err)
	backend := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = backend.Serve(listener) }()
	t.Cleanup(func() { backend.Close() })
	web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, portOf(listener)), Peers: peers(t, "/api")},
	}}
	startProxy(t, web).waitReady()
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", web.Upstreams[0].Listen), 404, "404 page not found\n")
	offered := <-hello
	if !slices.Equal(offered.SupportedCurves, want) || !slices.Equal(offered.SupportedVersions, []uint16{tls.VersionTLS13}) {
		t.Errorf("Envoy offers %v of versions %x, want %v of TLS 1.3", offered.SupportedCurves, offered.SupportedVersions, want)
	}
}
