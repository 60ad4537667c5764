package conformance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// startAPI returns an Envoy with an app behind it, and its port for /web.
func startAPI(t *testing.T) (*proxy, uint16) {
	t.Helper()
	in := ir.Inbound{Listen: port(t), App: startApp(t).port, Peers: peers(t, "/web")}
	return startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}}), in.Listen
}

// TestVersions: TLS 1.3 and nothing before it.
func TestVersions(t *testing.T) {
	t.Parallel()
	x, listen := startAPI(t)
	config := showing(shared.own.svid(t, "/web"))
	if _, state := serves(t, listen, config); state.Version != tls.VersionTLS13 {
		t.Errorf("got %s, want TLS 1.3", tls.VersionName(state.Version))
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		config.MinVersion, config.MaxVersion = version, version
		x.refuses(t, listen, config, "protocol version not supported", "UNSUPPORTED_PROTOCOL")
	}
}

// TestCurves: three, of which the one that also resists a quantum computer is taken when the caller has it, whatever
// the caller likes better.
func TestCurves(t *testing.T) {
	t.Parallel()
	x, listen := startAPI(t)
	certificate := shared.own.svid(t, "/web")
	tests := []struct {
		name  string
		offer []tls.CurveID
		want  tls.CurveID
	}{
		{"whatever Go has", nil, tls.X25519MLKEM768},
		{"all of ours", []tls.CurveID{tls.CurveP256, tls.X25519, tls.X25519MLKEM768}, tls.X25519MLKEM768},
		{"without the hybrid", []tls.CurveID{tls.CurveP256, tls.X25519}, tls.X25519},
		{"P-256 and others", []tls.CurveID{tls.CurveP521, tls.CurveP384, tls.CurveP256}, tls.CurveP256},
	}
	for _, test := range tests {
		config := showing(certificate)
		config.CurvePreferences = test.offer
		if _, state := serves(t, listen, config); state.CurveID != test.want {
			t.Errorf("%s: got %s, want %s", test.name, state.CurveID, test.want)
		}
	}
	for _, other := range []tls.CurveID{tls.CurveP384, tls.CurveP521} {
		config := showing(certificate)
		config.CurvePreferences = []tls.CurveID{other}
		x.refuses(t, listen, config, "handshake failure", "NO_SHARED_GROUP")
	}
	if got := chosenCurve(t, listen); got != tls.X25519MLKEM768 {
		t.Errorf("of a caller who names X25519 first: got %s, want %s", got, tls.X25519MLKEM768)
	}
}

// chosenCurve is the curve in the answer to a ClientHello that names X25519 before X25519MLKEM768 and brings a key for
// both. Go's client has an order of its own, so its words are put into the other order; the answer comes before the
// server can tell.
func chosenCurve(t *testing.T, port uint16) tls.CurveID {
	t.Helper()
	const hybridFirst, hybridLast = "\x00\x0a\x00\x06\x00\x04\x11\xec\x00\x1d", "\x00\x0a\x00\x06\x00\x04\x00\x1d\x11\xec"
	recorder := &recorder{}
	config := &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}, InsecureSkipVerify: true}
	if err := tls.Client(recorder, config).Handshake(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	hello := bytes.Replace(recorder.written, []byte(hybridFirst), []byte(hybridLast), 1)
	if bytes.Equal(hello, recorder.written) {
		t.Fatal("the ClientHello does not have the two curves as expected")
	}
	connection, err := net.Dial("tcp", local(port))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = connection.Write(hello)
	must(t, err)
	record := make([]byte, 5)
	_, err = io.ReadFull(connection, record)
	must(t, err)
	answer := make([]byte, binary.BigEndian.Uint16(record[3:]))
	_, err = io.ReadFull(connection, answer)
	must(t, err)
	return keyShare(t, record[0], answer)
}

// keyShare finds the curve in a ServerHello: type and length (4), version (2), random (32), session, suite (2),
// compression (1), extensions.
func keyShare(t *testing.T, recordType byte, hello []byte) tls.CurveID {
	t.Helper()
	const handshake, serverHello, keyShareExtension = 22, 2, 51
	if recordType != handshake || len(hello) < 39 || hello[0] != serverHello {
		t.Fatalf("expected a ServerHello, got a record of type %d: %x", recordType, hello)
	}
	extensions := hello[38+1+int(hello[38])+3+2:]
	for len(extensions) >= 4 {
		kind, length := binary.BigEndian.Uint16(extensions), binary.BigEndian.Uint16(extensions[2:])
		if kind == keyShareExtension {
			return tls.CurveID(binary.BigEndian.Uint16(extensions[4:]))
		}
		extensions = extensions[4+length:]
	}
	t.Fatalf("expected a key share in the ServerHello, got %x", hello)
	return 0
}

// recorder keeps what is written to it, and has nothing to read.
type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.written = append(r.written, p...)
	return len(p), nil
}

func (*recorder) Read([]byte) (int, error) { return 0, io.EOF }

// TestNoResumption: the server gives nothing to resume a session by. Otherwise the second connection of this caller,
// whose certificate has expired since the first, would skip the look at it.
func TestNoResumption(t *testing.T) {
	t.Parallel()
	x, listen := startAPI(t)
	certificate := shared.own.mint(t, "/web", 3*time.Second)
	cache := &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	config := showing(certificate)
	config.ClientSessionCache = cache
	serves(t, listen, config)
	if _, state := serves(t, listen, config); state.DidResume || cache.got {
		t.Errorf("got a ticket %t, resumed %t, want neither", cache.got, state.DidResume)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	must(t, err)
	time.Sleep(time.Until(leaf.NotAfter) + time.Second)
	x.refuses(t, listen, config, "unknown certificate", "certificate_has_expired")
}

// tickets knows whether the server gave one.
type tickets struct {
	tls.ClientSessionCache
	got bool
}

func (c *tickets) Put(key string, session *tls.ClientSessionState) {
	c.got = c.got || session != nil
	c.ClientSessionCache.Put(key, session)
}

// TestCertificateRequired: nobody is served without one, and nobody without TLS.
func TestCertificateRequired(t *testing.T) {
	t.Parallel()
	x, listen := startAPI(t)
	x.refuses(t, listen, showing(tls.Certificate{}), "certificate required", "PEER_DID_NOT_RETURN_A_CERTIFICATE")

	connection, err := net.Dial("tcp", local(listen))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
	must(t, err)
	if answer, err := io.ReadAll(connection); strings.Contains(string(answer), "HTTP") || err != nil && !isReset(err) {
		t.Errorf("plain text: got %q, %v, want the end of the connection", answer, err)
	}
	x.logsRefusal(t, connectionOf(connection.LocalAddr().String(), listen), "HTTP_REQUEST")
}

// TestServersIdentity: what a caller sees of the server is the SVID that SPIRE gave to this Envoy, with the way to the
// root.
func TestServersIdentity(t *testing.T) {
	t.Parallel()
	_, listen := startAPI(t)
	_, state := serves(t, listen, showing(shared.own.svid(t, "/web")))
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(shared.own.root.certificate)
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	must(t, err)
	if diff := cmp.Diff([]string{own("/api")}, ids(state.PeerCertificates[0])); diff != "" {
		t.Errorf("the server's ID (-want +got):\n%s", diff)
	}
}

// TestCallersIdentity: what the app is told of a caller is the ID in its certificate, whatever the caller says it is.
func TestCallersIdentity(t *testing.T) {
	t.Parallel()
	_, listen := startAPI(t)
	got, _ := serves(t, listen, showing(shared.own.svid(t, "/web")),
		"X-Forwarded-Client-Cert: By="+own("/api")+";URI="+own("/admin"), "x-forwarded-client-cert: URI="+own("/admin"))
	saysOnly(t, got, own("/api"), own("/web"))
}

// saysOnly fails the test unless the app was told of one caller, with this ID, by its own proxy.
func saysOnly(t *testing.T, got seen, by, caller string) {
	t.Helper()
	told := got.Header.Values("X-Forwarded-Client-Cert")
	want := "^By=" + regexp.QuoteMeta(by) + ";Hash=[0-9a-f]{64};URI=" + regexp.QuoteMeta(caller) + "$"
	if len(told) != 1 || !regexp.MustCompile(want).MatchString(told[0]) {
		t.Errorf("the app saw X-Forwarded-Client-Cert %q, want one that matches %s", told, want)
	}
}

func ids(certificate *x509.Certificate) []string {
	var out []string
	for _, uri := range certificate.URIs {
		out = append(out, uri.String())
	}
	return out
}
