package conformance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// outsiders are callers whom no port with TLS lets in, and the reason that it gives.
func outsiders(t *testing.T) map[string]*tls.Config {
	t.Helper()
	stranger, err := newAuthority("stranger")
	must(t, err)
	old := showing(shared.own.svid(t, "/web"))
	old.MaxVersion = tls.VersionTLS12
	return map[string]*tls.Config{
		"PEER_DID_NOT_RETURN_A_CERTIFICATE": showing(tls.Certificate{}),
		"unable_to_get_local_issuer":        showing(stranger.sign(t, uris(t, own("/web")))),
		"no_trust_bundle_store":             showing(stranger.sign(t, uris(t, "spiffe://example.com/web"))),
		"UNSUPPORTED_PROTOCOL":              old,
		"certificate_has_expired": showing(shared.own.root.sign(t, func(c *x509.Certificate) {
			uris(t, own("/web"))(c)
			c.NotAfter = time.Now().Add(-time.Second)
		})),
	}
}

// TestPermissive: plain text is served, as nobody; whoever speaks TLS is looked at as closely as ever.
func TestPermissive(t *testing.T) {
	t.Parallel()
	in := ir.Inbound{Listen: port(t), App: startApp(t).port, Peers: peers(t, "/web"), TLS: ir.Permissive}
	x := startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}})
	status, got, err := raw(t, in.Listen, "GET / HTTP/1.1", "Host: app.test", "X-Forwarded-Client-Cert: URI="+own("/web"))
	if err != nil || status != 200 {
		t.Errorf("plain text: got status %d (%v), want 200", status, err)
	}
	if diff := cmp.Diff([]string(nil), got.Header.Values("X-Forwarded-Client-Cert")); diff != "" {
		t.Errorf("the app saw X-Forwarded-Client-Cert of a caller in plain text (-want +got):\n%s", diff)
	}
	x.event(t, map[string]string{"event": "plain_request", "status": "200"})
	got, _ = serves(t, in.Listen, showing(shared.own.svid(t, "/web")))
	saysOnly(t, got, own("/api"), own("/web"))
	x.refuses(t, in.Listen, showing(shared.own.svid(t, "/other")), "", "SAN_match")
	for reason, config := range outsiders(t) {
		x.refuses(t, in.Listen, config, "", reason)
	}
}

// TestAudit: those who are no peers pass, and the log says so; those of no trusted domain do not.
func TestAudit(t *testing.T) {
	t.Parallel()
	in := ir.Inbound{Listen: port(t), App: startApp(t).port, Peers: peers(t, "/web"), Audit: true}
	x := startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}})
	for audit, certificates := range map[string][]tls.Certificate{
		"allowed": {shared.own.svid(t, "/web")},
		"denied":  {shared.own.svid(t, "/web-evil"), shared.partner.svid(t, "/web")},
	} {
		for _, certificate := range certificates {
			serves(t, in.Listen, showing(certificate))
			leaf, err := x509.ParseCertificate(certificate.Certificate[0])
			must(t, err)
			event := x.event(t, map[string]string{"peer": ids(leaf)[0]})
			if event["event"] != "request" || event["audit"] != audit {
				t.Errorf("%s: got %v in the log, want a request with audit %q", ids(leaf), event, audit)
			}
		}
	}
	for reason, config := range outsiders(t) {
		x.refuses(t, in.Listen, config, "", reason)
	}
}

// TestTCP: bytes of a peer reach the app, and nobody else's connection does. That of a peer ends before its certificate
// can have expired.
func TestTCP(t *testing.T) {
	t.Parallel()
	app := startEcho(t)
	in := ir.Inbound{
		Listen: port(t), App: app.port, Peers: peers(t, "/web"), Protocol: ir.TCP,
	}
	x := startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}, SVIDTTL: 2 * time.Second})
	before := app.connections.Load()
	x.refuses(t, in.Listen, showing(shared.own.svid(t, "/other")), "", "SAN_match")
	x.refuses(t, in.Listen, showing(shared.partner.svid(t, "/web")), "", "SAN_match|no_trust_bundle_store")
	for reason, config := range outsiders(t) {
		x.refuses(t, in.Listen, config, "", reason)
	}
	if got := app.connections.Load(); got != before {
		t.Errorf("%d connections of refused callers reached the app", got-before)
	}

	connection, err := dial(in.Listen, showing(shared.own.svid(t, "/web")))
	must(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "hello")
	must(t, err)
	echo, err := io.ReadAll(connection)
	if err != nil && !isReset(err) || string(echo) != "hello" {
		t.Errorf("got %q, %v, want the bytes back and then the end", echo, err)
	}
}

// TestConnectionsEnd: a caller with HTTP/1.1 is asked to connect anew before its certificate can have expired.
func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	in := ir.Inbound{Listen: port(t), App: startApp(t).port, Peers: peers(t, "/web")}
	startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}, SVIDTTL: 10 * time.Second})
	connection, err := dial(in.Listen, showing(shared.own.svid(t, "/web")))
	must(t, err)
	defer connection.Close()
	reader := keepAlive{bufio.NewReader(connection)}
	for n := 1; ; n++ {
		_, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		must(t, err)
		closes, err := reader.answer()
		if err != nil {
			t.Fatalf("request %d: %v, want an answer to each until one says that it is the last", n, err)
		}
		if closes {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if n, err := connection.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("got %d more bytes, want the end", n)
	}
}
