package envoy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestOnlyRefusedHandshakesAreLogged: on a permissive port plain text of any kind is none, and TLS that fails is.
func TestOnlyRefusedHandshakesAreLogged(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	p.Inbound[0].TLS = ir.Permissive
	p.Inbound = append(p.Inbound, ir.Inbound{Listen: freePort(t), App: startTCPApp(t, "").port, Peers: peers(t, "/valid"),
		Protocol: ir.TCP, TLS: ir.Permissive})
	x := startProxy(t, p)
	x.waitReady()
	web, db := fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen), fmt.Sprintf("127.0.0.1:%d", p.Inbound[1].Listen)

	plain, newer := &http.Transport{}, &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	for _, transport := range []*http.Transport{plain, newer} {
		expect(t, &http.Client{Transport: transport}, "http://"+web, 200, "ok")
		transport.CloseIdleConnections()
	}
	secured := tlsClient(t, agent, "/valid")
	expect(t, secured, "https://"+web, 200, "ok")
	secured.CloseIdleConnections()
	for _, at := range []string{web, db} {
		// Among them the beginnings of what other protocols say, and of TLS.
		for _, text := range []string{"", "G", "GET /x HTTP/1.0\r\n\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x80\x2e\x01\x03\x01", "\xff\xff\xff\xff\xff", "\x16\x03"} {
			sendAndEnd(t, at, text)
		}
	}

	for i, at := range []string{web, db} {
		if connection, err := tls.Dial("tcp", at, tlsConfig(t, agent, id("/other").String())); err == nil {
			_, _ = connection.Read(make([]byte, 1))
			connection.Close()
		}
		old := tlsConfig(t, agent, id("/valid").String())
		old.MaxVersion = tls.VersionTLS12
		if _, err := tls.Dial("tcp", at, old); err == nil {
			t.Error("TLS 1.2 was let in")
		}
		listener := fmt.Sprintf("inbound_%d", p.Inbound[i].Listen)
		x.waitEvent("handshake_refused", map[string]string{"listener": listener, "peer": "/other", "reason": "SAN_match"})
		x.waitEvent("handshake_refused", map[string]string{"listener": listener, "reason": "UNSUPPORTED_PROTOCOL"})
	}
	if lines := x.events("handshake_refused"); len(lines) != 4 {
		t.Errorf("4 handshakes were refused, and the log has %d: %v", len(lines), lines)
	}
}

// sendAndEnd sends text, ends its side, and waits until the other side has ended.
func sendAndEnd(t *testing.T, at, text string) {
	t.Helper()
	connection, err := net.Dial("tcp", at)
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(connection, text)
	must(t, err)
	must(t, connection.(*net.TCPConn).CloseWrite())
	_, _ = io.Copy(io.Discard, connection)
}
