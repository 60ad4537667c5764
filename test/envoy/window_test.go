package envoy

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestUploadFromAfar sends 5 MB to a public port over HTTP/2, at a round trip of 100 ms: a window of 64 KiB, which is the
// least that HTTP/2 has, would take 8 s.
func TestUploadFromAfar(t *testing.T) {
	t.Parallel()
	p := publicApp(t, startAgent(t, "/api"), ir.NoRequest)
	p.Inbound[0].Peers, p.Inbound[0].TLS, p.Inbound[0].Clients = nil, ir.None, ir.Require
	p.Inbound[0].Limits = ir.DefaultLimits(p.Inbound[0])
	startProxy(t, p).waitReady()
	far := delayed(t, p.Inbound[0].Listen, 50*time.Millisecond)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	began := time.Now()
	url := fmt.Sprintf("http://127.0.0.1:%d/", far)
	response, err := (&http.Client{Transport: transport}).Post(url, "text/plain", bytes.NewReader(make([]byte, 5_000_000)))
	must(t, err)
	response.Body.Close()
	if took := time.Since(began); response.StatusCode != http.StatusOK || took < 2*time.Second || took > 6*time.Second {
		t.Errorf("got %s after %s, want 200 after some 2 s", response.Status, took)
	}
}

// delayed is a port that leads to another one, by a way on which each byte takes so long in either direction.
func delayed(t *testing.T, to uint16, delay time.Duration) uint16 {
	t.Helper()
	listener, port := listen(t)
	go serveEach(listener, func(near net.Conn) {
		far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to))
		if err != nil {
			return
		}
		go carry(near, far, delay)
		carry(far, near, delay)
	})
	return port
}

// carry hands on what comes when it is old enough. What is under way is not bounded, as on a fast link.
func carry(from, to net.Conn, delay time.Duration) {
	defer from.Close()
	defer to.Close()
	type piece struct {
		due   time.Time
		bytes []byte
	}
	way := make(chan piece, 100_000)
	go func() {
		defer close(way)
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			way <- piece{time.Now().Add(delay), buffer[:n]}
		}
	}()
	for next := range way {
		time.Sleep(time.Until(next.due))
		if _, err := to.Write(next.bytes); err != nil {
			return
		}
	}
}
