package local

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// deleteLink removes a network interface by rtnetlink(7). `down` must work when the cache, and with it the program
// ip, is gone.
func deleteLink(name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return unix.ENODEV
	}
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	const size = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	request := make([]byte, size)
	binary.NativeEndian.PutUint32(request[0:], size)
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(request[8:], 1)                                   // sequence number
	binary.NativeEndian.PutUint32(request[unix.SizeofNlMsghdr+4:], uint32(i.Index)) //nolint:gosec // an int32 in the kernel, above zero
	if err := unix.Sendto(s, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("unexpected answer of %d bytes from rtnetlink", n)
	}
	var code int32 // zero or a negative errno
	if _, err := binary.Decode(answer[unix.SizeofNlMsghdr:n], binary.NativeEndian, &code); err != nil {
		return err
	}
	if code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// usedNetworks returns the networks of the machine's own addresses.
func usedNetworks() ([]netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var out []netip.Prefix
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out, nil
}
