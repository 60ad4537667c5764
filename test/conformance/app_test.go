package conformance

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// app is what stands behind a proxy. It tells its caller what it saw.
type app struct {
	port     uint16
	requests atomic.Int64
}

// seen is a request as the app got it.
type seen struct {
	Method, URI, Host, Protocol string
	Header                      http.Header
}

func startApp(t *testing.T) *app {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := &app{port: uint16(listener.Addr().(*net.TCPAddr).Port)}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Host, r.Proto, r.Header})
	}), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return a
}

// echo gives the bytes of each connection back.
type echo struct {
	port        uint16
	connections atomic.Int64
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	e := &echo{port: uint16(listener.Addr().(*net.TCPAddr).Port)}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			e.connections.Add(1)
			go func() {
				defer connection.Close()
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
	return e
}
