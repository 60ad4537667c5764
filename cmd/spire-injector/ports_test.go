package main

import (
	"net"
	"testing"

	"github.com/spire-injector/spire-injector/webhook/connections"
)

// holdConnections opens more connections to a port than it takes, and closes none until the test ends.
func holdConnections(t *testing.T, port string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for range 2 * connections.ProbeBounds().Connections {
		c, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}
