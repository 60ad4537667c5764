package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rules are what becomes of TCP connections that come from outside the pod, where a port that is in no rule is closed, and
// of those that the pod opens to names of its own.
type Rules struct {
	Redirects []Redirect
	// Names are for connections from inside the pod. Envoy opens none of these: it asks DNS for where a name leads.
	Names []NameRedirect
	// Open are ports that answer themselves, beside those to which Redirects lead: what Envoy has for the kubelet and for
	// Prometheus, and ports of the app that stay plain.
	Open []uint16
}

// Redirect leads connections for one port to another one of the pod, on which Envoy listens on all addresses.
type Redirect struct{ From, To uint16 }

func (r Redirect) String() string { return fmt.Sprintf("%d:%d", r.From, r.To) }

// NameRedirect leads connections to an address of loopback, which stands for a name in the pod, to a port of 127.0.0.1 on
// which Envoy listens. So the app may have the port itself, on all addresses. From port 0 are those for all ports that have
// no other one.
type NameRedirect struct {
	From netip.AddrPort
	To   uint16
}

func (r NameRedirect) String() string {
	if r.From.Port() == 0 {
		return fmt.Sprintf("%s:%s:%d", r.From.Addr(), anyPort, r.To)
	}
	return fmt.Sprintf("%s:%d", r.From, r.To)
}

// anyPort stands for all ports of a name that no other redirect is for.
const anyPort = "*"

// ParseNameRedirect reads what [NameRedirect.String] writes.
func ParseNameRedirect(s string) (NameRedirect, error) {
	wrong := fmt.Errorf("expected an address with its port, or * for all others, and a port of Envoy, such as 127.0.1.1:8080:15500, got %q", s)
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return NameRedirect{}, wrong
	}
	from, err := netip.ParseAddrPort(s[:at])
	if text, rest := strings.CutSuffix(s[:at], ":"+anyPort); rest {
		var ip netip.Addr
		ip, err = netip.ParseAddr(text)
		from = netip.AddrPortFrom(ip, 0)
	} else if err == nil && from.Port() == 0 {
		return NameRedirect{}, wrong
	}
	if err != nil {
		return NameRedirect{}, wrong
	}
	to, err := ParsePort(s[at+1:])
	if err != nil {
		return NameRedirect{}, wrong
	}
	return NameRedirect{from, to}, nil
}

// mistake is what is wrong with it by itself; empty for nothing. Envoy listens on 127.0.0.1 beside the app.
func (r NameRedirect) mistake() string {
	switch ip := r.From.Addr(); {
	case !ip.Is4() || !ip.IsLoopback() || ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}):
		return "expected an address of loopback other than 127.0.0.1, such as 127.0.1.1"
	case r.To == 0:
		return "expected a port of Envoy from 1 to 65535"
	}
	return ""
}

// maxPorts is the most of each kind. It fits into one message to the kernel.
const maxPorts = 1024

// ParseRedirect reads what [Redirect.String] writes.
func ParseRedirect(s string) (Redirect, error) {
	from, to, ok := strings.Cut(s, ":")
	wrong := fmt.Errorf("expected two ports, such as 8080:8443, got %q", s)
	if !ok {
		return Redirect{}, wrong
	}
	var r Redirect
	var err error
	if r.From, err = ParsePort(from); err != nil {
		return Redirect{}, wrong
	}
	if r.To, err = ParsePort(to); err != nil {
		return Redirect{}, wrong
	}
	return r, nil
}

// ParsePort reads a port from 1 to 65535.
func ParsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("expected a port from 1 to 65535, got %q", s)
	}
	return uint16(port), nil
}

// Validate returns every mistake.
func (r Rules) Validate() error {
	if len(r.Redirects) == 0 {
		return errors.New("expected at least one port that is redirected, got none: every port would be closed")
	}
	if len(r.Redirects) > maxPorts || len(r.Open) > maxPorts || len(r.Names) > maxPorts {
		return fmt.Errorf("expected at most %d ports that are redirected, as many that are open, and as many of names, got %d, %d "+
			"and %d", maxPorts, len(r.Redirects), len(r.Open), len(r.Names))
	}
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	to := map[uint16]uint16{}
	for _, redirect := range r.Redirects {
		before, twice := to[redirect.From]
		switch {
		case redirect.From == 0 || redirect.To == 0:
			wrong("redirect %s: expected ports from 1 to 65535", redirect)
		case redirect.From == redirect.To:
			wrong("redirect %s: expected two ports, one of the app and one of Envoy; they cannot share one", redirect)
		case twice:
			wrong("redirect %s: port %d is already redirected to %d", redirect, redirect.From, before)
		}
		to[redirect.From] = redirect.To
	}
	for _, redirect := range r.Redirects {
		if next, chained := to[redirect.To]; chained && redirect.From != redirect.To {
			wrong("redirect %s: Envoy listens on %d, which cannot be redirected itself, to %d", redirect, redirect.To, next)
		}
	}
	for _, port := range r.Open {
		if port == 0 {
			wrong("open %d: expected a port from 1 to 65535", port)
		} else if next, redirected := to[port]; redirected {
			wrong("open %d: the port is redirected to %d; a port is either open or redirected", port, next)
		}
	}
	named := map[netip.AddrPort]uint16{}
	for _, name := range r.Names {
		before, twice := named[name.From]
		if mistake := name.mistake(); mistake != "" {
			wrong("name %s: %s", name, mistake)
		} else if twice {
			wrong("name %s: it is already redirected to %d", name, before)
		}
		named[name.From] = name.To
	}
	return errors.Join(mistakes...)
}

// inOrder are the redirects of names, where those for a port come before those for the rest: the first that fits counts.
func (r Rules) inOrder() []NameRedirect {
	names := slices.Clone(r.Names)
	isRest := func(name NameRedirect) int {
		if name.From.Port() == 0 {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(names, func(a, b NameRedirect) int { return isRest(a) - isRest(b) })
	return names
}

// reachable are the ports on which a connection from outside may arrive when it has been redirected, in order.
func (r Rules) reachable() []uint16 {
	ports := slices.Clone(r.Open)
	for _, redirect := range r.Redirects {
		ports = append(ports, redirect.To)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// Names in the table.
const (
	tableName       = "spire_injector"
	mapCaptured     = "captured"
	setReachable    = "reachable"
	chainPrerouting = "prerouting"
	chainInput      = "input"
	chainOutput     = "output"
)

// String is the table as the program nft writes and reads it.
func (r Rules) String() string {
	var redirects, open []string
	for _, redirect := range r.Redirects {
		redirects = append(redirects, fmt.Sprintf("%d : %d", redirect.From, redirect.To))
	}
	for _, port := range r.reachable() {
		open = append(open, strconv.Itoa(int(port)))
	}
	names := ""
	for n, name := range r.inOrder() {
		if n == 0 {
			names = "\n\tchain " + chainOutput + " {\n\t\ttype nat hook output priority -100; policy accept;\n"
		}
		which := fmt.Sprintf("tcp dport %d", name.From.Port())
		if name.From.Port() == 0 {
			which = "meta l4proto tcp"
		}
		names += fmt.Sprintf("\t\tip daddr %s %s redirect to :%d\n", name.From.Addr(), which, name.To)
	}
	if names != "" {
		names += "\t}\n"
	}
	return fmt.Sprintf(`table inet %[1]s {
	map %[2]s {
		type inet_service : inet_service
		flags constant
		elements = { %[3]s }
	}

	set %[4]s {
		type inet_service
		flags constant
		elements = { %[5]s }
	}

	chain %[6]s {
		type nat hook prerouting priority dstnat; policy accept;
		iifname != "lo" meta l4proto tcp redirect to :tcp dport map @%[2]s
	}

	chain %[7]s {
		type filter hook input priority filter; policy accept;
		iifname != "lo" tcp flags syn / syn,ack tcp dport != @%[4]s counter reject with tcp reset
	}
%[8]s}
`, tableName, mapCaptured, strings.Join(redirects, ", "), setReachable, strings.Join(open, ", "), chainPrerouting,
		chainInput, names)
}
