package ir

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// AppHost is the address in its pod on which an app listens. The zero value is 127.0.0.1; others are those that
// [ParseApp] makes.
type AppHost string

// PodIP is the address of the pod that the caller has called.
const PodIP AppHost = "podIP"

const loopback = "127.0.0.1"

// ParseApp reads an address of the own pod: an address of loopback, or podIP, and a port from 1 to 65535.
func ParseApp(s string) (AppHost, uint16, error) {
	const want = `expected a port on 127.0.0.1 such as 8080, or an address such as "[::1]:8080" or "podIP:8080"`
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%s, got %q", want, s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return "", 0, fmt.Errorf("%s, got %q: the port is from 1 to 65535", want, s)
	}
	if host == string(PodIP) {
		return PodIP, uint16(port), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() || ip.Is4In6() || ip.Zone() != "" {
		return "", 0, fmt.Errorf("%s, got %q: an app is in its own pod", want, s)
	}
	if ip.String() == loopback {
		return "", uint16(port), nil
	}
	return AppHost(ip.String()), uint16(port), nil
}

// IP is the address of loopback, empty for that of the pod.
func (h AppHost) IP() string {
	switch h {
	case "":
		return loopback
	case PodIP:
		return ""
	}
	return string(h)
}

// With is the spelling that ParseApp reads.
func (h AppHost) With(port uint16) string {
	host := h.IP()
	if h == PodIP {
		host = string(PodIP)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func (h AppHost) valid() bool {
	known, _, err := ParseApp(h.With(1))
	return err == nil && known == h
}

// AppHostOf is where the app listens that has a port, as the listeners say: 127.0.0.1 if none does.
func (p Proxy) AppHostOf(port uint16) AppHost {
	for _, in := range p.Inbound {
		if in.App == port {
			return in.AppHost
		}
	}
	return ""
}
