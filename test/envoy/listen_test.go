package envoy

import (
	"net"
	"testing"
)

// listen is a port of 127.0.0.1 that lives as long as the test.
func listen(t *testing.T) (net.Listener, uint16) {
	t.Helper()
	return listenAt(t, "127.0.0.1:0")
}

// listenAt is the same at any address.
func listenAt(t *testing.T, address string) (net.Listener, uint16) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener, portOf(listener)
}

func portOf(listener net.Listener) uint16 { return uint16(listener.Addr().(*net.TCPAddr).Port) }

// serveEach serves each connection by itself, and closes it afterwards, until there is no listener any more.
func serveEach(listener net.Listener, serve func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			serve(connection)
		}()
	}
}
