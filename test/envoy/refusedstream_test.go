package envoy

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestRefusedStream: a peer over HTTP/2 says that it has not begun with a request, which is then tried again, or that it
// failed in it, which is not.
func TestRefusedStream(t *testing.T) {
	t.Parallel()
	const refused, internal = 7, 2 // error codes of RFC 9113
	agent := startAgent(t, "/web")
	for _, test := range []struct {
		name       string
		code       uint32
		ip         string
		status     int
		wantStream int64
	}{{"refused", refused, "127.1.11.1", 200, 2}, {"failed", internal, "127.1.11.2", 503, 1}} {
		port := freePort(t)
		config := tlsConfig(t, agent, id("/api").String())
		config.ClientAuth, config.NextProtos = tls.RequireAnyClientCert, []string{"h2"}
		address := netip.AddrPortFrom(netip.MustParseAddr(test.ip), port).String()
		listener, err := tls.Listen("tcp", address, config)
		must(t, err)
		t.Cleanup(func() { listener.Close() })
		var streams atomic.Int64
		go serveEach(listener, func(connection net.Conn) { resetFirst(connection, test.code, &streams) })
		x := startResilient(t, agent, ir.Upstream{Address: parsed(t, address), Protocol: ir.HTTP2})
		status, body, err := get(callerOf(ir.HTTP2), x.url(0))
		if err != nil || status != test.status || streams.Load() != test.wantStream {
			t.Errorf("%s: %d %q %v, and %d streams, want %d and %d", test.name, status, body, err, streams.Load(), test.status, test.wantStream)
		}
	}
}

// resetFirst speaks as much of HTTP/2 as is needed to reset the first of all streams and to answer the others with 200.
func resetFirst(connection net.Conn, code uint32, streams *atomic.Int64) {
	const headers, reset, settings = 1, 3, 4
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		out := []byte{0, 0, byte(len(payload)), kind, flags}
		out = binary.BigEndian.AppendUint32(out, stream)
		_, _ = connection.Write(append(out, payload...))
	}
	if _, err := io.ReadFull(connection, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	frame(settings, 0, 0, nil)
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(connection, head); err != nil {
			return
		}
		length := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, connection, length); err != nil {
			return
		}
		switch stream := binary.BigEndian.Uint32(head[5:]); {
		case head[3] == settings && head[4] == 0:
			frame(settings, 1, 0, nil)
		case head[3] == headers && streams.Add(1) == 1:
			frame(reset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
		case head[3] == headers:
			frame(headers, 5, stream, []byte{0x88}) // the end of the stream, and :status 200
		}
	}
}
