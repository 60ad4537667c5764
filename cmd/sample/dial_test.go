package main

import (
	"net"
	"net/http/httptest"
	"regexp"
	"testing"
)

func TestDial(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(newTestAPI())
	t.Cleanup(plain.Close)
	mutual := newMutualTLSServer(newTestAPI())
	t.Cleanup(mutual.Close)
	serverOnly := httptest.NewUnstartedServer(newTestAPI())
	serverOnly.Config.ErrorLog = discardLog() // it complains of a caller that distrusts its certificate
	serverOnly.StartTLS()
	t.Cleanup(serverOnly.Close)
	// A port that accepts a connection and closes it, as Envoy does to plain text.
	closing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closing.Close() })
	go func() {
		for {
			connection, err := closing.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 4096)
			_, _ = connection.Read(buffer)
			_ = connection.Close()
		}
	}()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })

	for _, test := range []struct {
		name, address, how string
		code               int
		output             string
	}{
		{"no client certificate", mutual.Listener.Addr().String(), "--tls", exitFailed, `^refused: reading the answer: remote error: tls: certificate required\n$`},
		{"TLS without mutual", serverOnly.Listener.Addr().String(), "--tls", exitOK, `^answered: 200 OK "ok" over TLS 1\.3\n$`},
		{"plain text", plain.Listener.Addr().String(), "--plain", exitOK, `^answered: 200 OK "ok" over plain text\n$`},
		{"plain text to a closing port", closing.Addr().String(), "--plain", exitFailed, `^refused: reading the answer: the server closed the connection without one \(.*EOF\)\n$`},
		{"TLS to plain text", plain.Listener.Addr().String(), "--tls", exitFailed, `^refused: TLS handshake: tls: first record does not look like a TLS handshake\n$`},
		{"plain text to Go's TLS", mutual.Listener.Addr().String(), "--plain", exitOK, `^answered: 400 Bad Request "Client sent an HTTP request to an HTTPS server\." over plain text\n$`},
		{"no answer in time", silent.Addr().String(), "--tls", exitFailed, `^refused: TLS handshake: .*(deadline exceeded|i/o timeout)\n$`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t.Context(), "dial", test.address, test.how, "--timeout", "500ms")
			if got.code != test.code || !regexp.MustCompile(test.output).MatchString(got.stdout) {
				t.Errorf("expected exit code %d and %s, got %+v", test.code, test.output, got)
			}
		})
	}
}
