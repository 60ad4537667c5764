package ir

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseHost reads what a request says in Host: a DNS name in lower case, an IPv4 address or an IPv6 address in brackets,
// and after it a port from 1 to 65535 if one is to be sent.
func ParseHost(s string) (string, error) {
	if problem := hostProblem(s); problem != "" {
		return "", fmt.Errorf(`expected a Host such as "api.example.org" or "api.example.org:8443", got %q: %s`, s, problem)
	}
	return s, nil
}

// hostProblem is what is wrong with a Host; "" means nothing.
func hostProblem(s string) string {
	name := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name = s[:i]
		if port, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil || port == 0 {
			return fmt.Sprintf("%q is no port", s[i+1:])
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || !strings.HasSuffix(name, "]") {
			return fmt.Sprintf("%q is no IPv6 address in brackets", name)
		}
		return ""
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Is6() {
			return "an IPv6 address stands in brackets"
		}
		return ""
	}
	return dnsNameProblem(name)
}

// SentHost is what requests that the app sent to a loopback address say in Host: Host, or the name or address of the
// service without its port, which is ours; of one outside the mesh it is the name in its certificate.
func (up Upstream) SentHost() string {
	host := strings.TrimSuffix(up.Address.Host(), ".")
	if up.Server.External {
		host = up.Server.Name.String()
	}
	switch {
	case up.Host != "":
		return up.Host
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	default:
		return host
	}
}

func misspeltHost(up Upstream) string {
	if up.Host == "" {
		return ""
	}
	if _, err := ParseHost(up.Host); err != nil {
		return err.Error()
	}
	return ""
}

func hostOfTCP(up Upstream) string {
	return unless(up.Host == "" || up.Protocol != TCP, "has no effect with protocol tcp, which has no Host: remove it")
}
