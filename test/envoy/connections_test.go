package envoy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestConnectionsOfAMutualPort: strangers who connect and say nothing count against the bound of a port, but are sent away
// after the time for a handshake, and then peers are served again.
func TestConnectionsOfAMutualPort(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/web")
	p.SVIDTTL, p.Inbound[0].Limits = time.Hour, ir.Limits{MaxConnections: 2} // not ended by its age
	x := startProxy(t, p)
	x.waitReady()
	port := p.Inbound[0].Listen
	eventually(t, 10*time.Second, "readiness' connections to have ended", func() error {
		if n := x.statistic(fmt.Sprintf("connection_limit.inbound_%d.active_connections", port)); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	began := time.Now()
	var strangers []net.Conn
	for range 2 {
		stranger, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		must(t, err)
		defer stranger.Close()
		strangers = append(strangers, stranger)
	}
	eventually(t, 5*time.Second, "both strangers to count", func() error {
		if n := x.statistic(fmt.Sprintf("connection_limit.inbound_%d.active_connections", port)); n != 2 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	url := fmt.Sprintf("https://127.0.0.1:%d/", port)
	if status, _, err := get(tlsClient(t, agent, "/web"), url); err == nil {
		t.Errorf("a third connection: got %d", status)
	}
	for _, stranger := range strangers {
		must(t, stranger.SetReadDeadline(time.Now().Add(20*time.Second)))
		if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a stranger's connection: %v after %s, want its end", err, time.Since(began))
		}
	}
	if waited := time.Since(began); waited < 9*time.Second {
		t.Errorf("strangers had only %s for their handshake", waited)
	}
	eventually(t, 5*time.Second, "a peer's answer", answers(tlsClient(t, agent, "/web"), url, 200))
}
