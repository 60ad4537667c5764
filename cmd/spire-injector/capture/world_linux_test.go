package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/netns"
)

// world is a pod's network, and what is outside: a node, or another pod.
type world struct{ pod, outside *netns.Network }

// linkLocal needs no configuration: every pod with IPv6 is reached so by its neighbours. The zone is an index, because
// names of interfaces are looked up once for all networks.
const (
	interfaceIndex = 77
	linkLocal      = "fe80::2%77"
	outsideIPv4    = "10.78.0.1"
	outsideIPv6    = "fd78::1"
)

// podAddresses are those of the pod that the world outside knows.
var podAddresses = map[string]string{"IPv4": "10.78.0.2", "IPv6": "fd78::2", "IPv6 of the link": linkLocal}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{newNetwork(t), newNetwork(t)}
	run := func(in *netns.Network, format string, args ...any) {
		t.Helper()
		must(t, in.IP(t.Context(), fmt.Sprintf(format, args...)))
	}
	run(w.outside, "link add eth0 index %d type veth peer name eth0 index %[1]d netns %s", interfaceIndex, w.pod.Path())
	for in, addresses := range map[*netns.Network][]string{
		w.outside: {outsideIPv4 + "/24", outsideIPv6 + "/64", "fe80::1/64"},
		w.pod:     {"10.78.0.2/24", "fd78::2/64", "fe80::2/64"},
	} {
		run(in, "link set eth0 addrgenmode none up")
		for _, address := range addresses {
			nodad := ""
			if netip.MustParsePrefix(address).Addr().Is6() {
				nodad = " nodad" // no waiting for others with the same address
			}
			run(in, "address add %s dev eth0%s", address, nodad)
		}
	}
	return w
}

func newNetwork(t *testing.T) *netns.Network {
	t.Helper()
	n, err := netns.New(t.Context())
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// apply writes rules as the pod's init container does.
func (w world) apply(t *testing.T, r Rules) {
	t.Helper()
	must(t, w.pod.Do(func() error { return Apply(t.Context(), r, ir.DualStack) }))
}

// serve answers on a port of the pod, on all its addresses, with its name and what it sees of the caller.
func (w world) serve(t *testing.T, name string, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		listener, err := w.pod.Listen(t.Context(), fmt.Sprintf(":%d", port))
		must(t, err)
		t.Cleanup(func() { listener.Close() })
		go answerAll(listener, name)
	}
}

// answerAll answers until the listener is closed.
func answerAll(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			caller, meant := connection.RemoteAddr().(*net.TCPAddr), originalDestination(connection)
			fmt.Fprintf(connection, "%s sees %s for %s", name, caller.AddrPort().Addr().Unmap().WithZone(""), meant)
		}()
	}
}

// originalDestination is what the caller called, as Envoy's filter original_dst asks for it.
func originalDestination(connection net.Conn) string {
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err.Error()
	}
	var got netip.AddrPort
	failed := raw.Control(func(fd uintptr) {
		const originalDst = 80 // SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST
		if connection.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().Is4() {
			var a *unix.IPv6Mreq // of 20 bytes, for a sockaddr_in of 16
			if a, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, originalDst); err == nil {
				m := a.Multiaddr
				got = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m[4:8])), uint16(m[2])<<8|uint16(m[3]))
			}
			return
		}
		var a *unix.IPv6MTUInfo // begins with a sockaddr_in6
		if a, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, originalDst); err == nil {
			got = netip.AddrPortFrom(netip.AddrFrom16(a.Addr.Addr), a.Addr.Port>>8|a.Addr.Port<<8)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return err.Error()
	}
	return got.String()
}

// ask is what a server answers, or "refused", or another error.
func ask(t *testing.T, from *netns.Network, host string, port uint16) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	connection, err := from.Dial(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if errors.Is(err, unix.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(30 * time.Second))
	answer, err := io.ReadAll(connection)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeSetting(n *netns.Network, path, value string) error {
	return n.Do(func() error { return os.WriteFile(path, []byte(value), 0o644) })
}
