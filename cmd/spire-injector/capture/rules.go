package capture

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Rules are what becomes of TCP connections that come from outside the pod. A port that is in no rule is closed.
type Rules struct {
	Redirects []Redirect
	// Open are ports that answer themselves, beside those to which Redirects lead: what Envoy has for the kubelet and for
	// Prometheus, and ports of the app that stay plain.
	Open []uint16
}

// Redirect leads connections for one port to another one of the pod, on which Envoy listens on all addresses.
type Redirect struct{ From, To uint16 }

func (r Redirect) String() string { return fmt.Sprintf("%d:%d", r.From, r.To) }

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
	if len(r.Redirects) > maxPorts || len(r.Open) > maxPorts {
		return fmt.Errorf("expected at most %d ports that are redirected, and as many that are open, got %d and %d", maxPorts,
			len(r.Redirects), len(r.Open))
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
	return errors.Join(mistakes...)
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
}
`, tableName, mapCaptured, strings.Join(redirects, ", "), setReachable, strings.Join(open, ", "), chainPrerouting,
		chainInput)
}
