package envoy

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/netns"
)

func newNetwork(t *testing.T) *netns.Network {
	t.Helper()
	n, err := netns.New(t.Context())
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func listenIn(t *testing.T, n *netns.Network, address string) net.Listener {
	t.Helper()
	listener, err := n.Listen(t.Context(), address)
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener
}

// clientIn calls from a network, if one is given.
func clientIn(n *netns.Network) *http.Client {
	if n == nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{DialContext: n.Dial}}
}

// Addresses of the two networks of a [link].
const (
	callerIP = "10.77.0.1"
	calleeIP = "10.77.0.2"
)

// link joins two networks by a switch between them, so that neither side sees that it is cut.
type link struct {
	caller, callee, between *netns.Network
}

func newLink(t *testing.T) *link {
	t.Helper()
	l := &link{newNetwork(t), newNetwork(t), newNetwork(t)}
	run := func(in *netns.Network, format string, args ...any) {
		t.Helper()
		must(t, in.IP(t.Context(), fmt.Sprintf(format, args...)))
	}
	run(l.between, "link add switch type bridge")
	run(l.between, "link set switch up")
	for _, side := range []struct {
		of       *netns.Network
		name, ip string
	}{{l.caller, "caller", callerIP}, {l.callee, "callee", calleeIP}} {
		run(l.between, "link add %s type veth peer name eth0 netns %s", side.name, side.of.Path())
		run(l.between, "link set %s master switch up", side.name)
		run(side.of, "address add %s/24 dev eth0", side.ip)
		run(side.of, "link set eth0 up")
	}
	return l
}

// waitQuiet waits until no connection has anything under way, which the kernel would send again and again.
func (l *link) waitQuiet(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "acknowledgement of everything", func() error {
		for _, side := range []*netns.Network{l.caller, l.callee} {
			waiting, err := unacknowledged(side)
			if err != nil || waiting > 0 {
				return fmt.Errorf("%d connections with something under way: %w", waiting, err)
			}
		}
		return nil
	})
}

// unacknowledged is how many connections to the other side have bytes under way.
func unacknowledged(n *netns.Network) (int, error) {
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command("ss", "-Htn", "state", "established", "dst", "10.77.0.0/24").Output()
		return err
	})
	waiting := 0
	for line := range strings.Lines(string(out)) {
		if columns := strings.Fields(line); len(columns) > 1 && columns[1] != "0" {
			waiting++
		}
	}
	return waiting, err
}

// cut makes everything on the way disappear.
func (l *link) cut(t *testing.T) {
	t.Helper()
	must(t, l.between.IP(t.Context(), "link set switch down"))
}
