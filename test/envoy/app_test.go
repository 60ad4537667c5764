package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
)

// startApp answers "ok" after the time in the query's "for", with what Envoy said of the caller in
// headers of its own. An upgraded connection gets its bytes back. It speaks HTTP/1.1 and HTTP/2 without TLS.
func startApp(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(w)
			return
		}
		if wait, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
			time.Sleep(wait)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Saw-Xfcc", r.Header.Get("X-Forwarded-Client-Cert"))
		w.Header().Set("Saw-Subject", strings.Join(r.Header.Values(templates.JWTSubjectHeader), " and "))
		w.Header().Set("Saw-Authorization", strings.Join(r.Header.Values("Authorization"), " and "))
		w.Header().Set("Saw-Protocol", r.Proto)
		w.Header().Set("Saw-Request-Id", r.Header.Get("X-Request-Id"))
		w.Header().Set("Server", "app")
		fmt.Fprint(w, "ok")
	}), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return port
}

// tcpApp greets each connection, if it has a greeting, and sends its bytes back.
type tcpApp struct {
	port     uint16
	accepted atomic.Int64
}

func startTCPApp(t *testing.T, greeting string) *tcpApp {
	t.Helper()
	listener, port := listen(t)
	app := &tcpApp{port: port}
	go serveEach(listener, func(connection net.Conn) {
		app.accepted.Add(1)
		_, _ = io.WriteString(connection, greeting)
		_, _ = io.Copy(connection, connection)
	})
	return app
}

// roundTrip sends text and wants it back, after the greeting if there is one.
func roundTrip(connection net.Conn, greeting, text string) error {
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	for _, step := range []struct{ send, want string }{{"", greeting}, {text, text}} {
		if _, err := io.WriteString(connection, step.send); err != nil {
			return err
		}
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(connection, got); err != nil {
			return err
		}
		if string(got) != step.want {
			return fmt.Errorf("got %q, want %q", got, step.want)
		}
	}
	return nil
}

func echo(w http.ResponseWriter) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	_, _ = io.Copy(connection, buffered)
}
