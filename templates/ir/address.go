package ir

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is a host and port that Envoy connects to. Only [ParseAddress] makes one; [Proxy.Validate]
// refuses the zero value.
type Address struct {
	host string // a DNS name in lower case, or an IP address without brackets
	ip   bool
	port uint16
}

// ParseAddress reads host:port, where host is a DNS name, an IPv4 address or an IPv6 address in
// brackets, and port is 1 to 65535.
func ParseAddress(s string) (Address, error) {
	const want = `expected host:port such as "api.default.svc:8443"`
	if _, after, ok := strings.Cut(s, "://"); ok {
		return Address{}, fmt.Errorf("address %q: %s, without a scheme: %q", s, want, after)
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: %s", s, want)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Address{}, fmt.Errorf("address %q: expected a port from 1 to 65535, got %q", s, portText)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
			return Address{}, fmt.Errorf("address %q: expected the address of one host, without a zone, got %q", s, host)
		}
		return Address{host: ip.String(), ip: true, port: uint16(port)}, nil
	}
	host = strings.ToLower(host)
	if problem := dnsNameProblem(host); problem != "" {
		return Address{}, fmt.Errorf("address %q: expected a DNS name or an IP address, got %q: %s", s, host, problem)
	}
	return Address{host: host, port: uint16(port)}, nil
}

// String is the spelling that ParseAddress accepts.
func (a Address) String() string {
	return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
}

// Host is the DNS name or the IP address, the latter without brackets.
func (a Address) Host() string { return a.host }

// Port is 1 to 65535.
func (a Address) Port() uint16 { return a.port }

// IsIP says whether the host is an IP address and not a name to look up.
func (a Address) IsIP() bool { return a.ip }

// dnsNameProblem applies RFC 1123 to a name in lower case, with an optional final dot; "" means that it
// is a name.
func dnsNameProblem(name string) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return "it is empty"
	}
	if len(name) > 253 {
		return "a name has at most 253 characters"
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "a label has 1 to 63 characters"
		}
		if strings.ContainsFunc(label, notInLabel) || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Sprintf("label %q has other characters than letters, digits and inner hyphens", label)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "the last label of a name is not a number"
	}
	return ""
}

func notInLabel(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
}
