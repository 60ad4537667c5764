package envoy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network is a network namespace, as that of a pod. Nil is the test's own.
type network struct{ file *os.File }

func newNetwork(t *testing.T) *network {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer own.Close()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	file, err := os.Open("/proc/thread-self/ns/net")
	must(t, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET))
	must(t, err)
	t.Cleanup(func() { file.Close() })
	n := &network{file}
	n.ip(t, "link set lo up")
	return n
}

// do calls f in the network: sockets that it opens and programs that it starts are there.
func (n *network) do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	failed := f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // on a thread that ends with its goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

// ip runs the program ip in the network.
func (n *network) ip(t *testing.T, args string) {
	t.Helper()
	must(t, n.do(func() error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	}))
}

// path is a name of the network that other programs can open.
func (n *network) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

func (n *network) listen(t *testing.T, address string) (listener net.Listener) {
	t.Helper()
	must(t, n.do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	t.Cleanup(func() { listener.Close() })
	return listener
}

func (n *network) dial(_ context.Context, _, address string) (connection net.Conn, err error) {
	err = n.do(func() (err error) {
		connection, err = net.Dial("tcp", address) // of an IP address, on this thread
		return err
	})
	return connection, err
}

func (n *network) client() *http.Client {
	if n == nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{DialContext: n.dial}}
}

// Addresses of the two networks of a [link].
const (
	callerIP = "10.77.0.1"
	calleeIP = "10.77.0.2"
)

// link joins two networks by a switch between them, so that neither side sees that it is cut.
type link struct {
	caller, callee, between *network
}

func newLink(t *testing.T) *link {
	t.Helper()
	l := &link{newNetwork(t), newNetwork(t), newNetwork(t)}
	l.between.ip(t, "link add switch type bridge")
	l.between.ip(t, "link set switch up")
	for _, side := range []struct {
		of       *network
		name, ip string
	}{{l.caller, "caller", callerIP}, {l.callee, "callee", calleeIP}} {
		l.between.ip(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", side.name, side.of.path()))
		l.between.ip(t, fmt.Sprintf("link set %s master switch up", side.name))
		side.of.ip(t, fmt.Sprintf("address add %s/24 dev eth0", side.ip))
		side.of.ip(t, "link set eth0 up")
	}
	return l
}

// waitQuiet waits until no connection has anything under way, which the kernel would send again and again.
func (l *link) waitQuiet(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "acknowledgement of everything", func() error {
		for _, side := range []*network{l.caller, l.callee} {
			waiting, err := side.unacknowledged()
			if err != nil || waiting > 0 {
				return fmt.Errorf("%d connections with something under way: %w", waiting, err)
			}
		}
		return nil
	})
}

// unacknowledged is how many connections to the other side have bytes under way.
func (n *network) unacknowledged() (int, error) {
	var out []byte
	err := n.do(func() (err error) {
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
	l.between.ip(t, "link set switch down")
}
