package ir

import (
	"fmt"
	"slices"
)

// Redirect leads connections from outside a pod for one of its ports to another one, on which Envoy listens on all
// addresses.
type Redirect struct{ From, To uint16 }

func (r Redirect) String() string { return fmt.Sprintf("%d:%d", r.From, r.To) }

// Redirects are those of a captured pod, each port once: those of the app come to its listeners, and [CapturePort] to
// readiness.
func (p Proxy) Redirects() []Redirect {
	if !p.Captured {
		return nil
	}
	redirects := []Redirect{{From: CapturePort, To: ReadinessPort}}
	for _, in := range p.Inbound {
		redirects = append(redirects, Redirect{From: in.App, To: in.Listen})
	}
	return redirects
}

// NameRedirect leads the app's connections for a port of a name's address in the pod to one of 127.0.0.1, on which Envoy
// listens. From port 0 are those for all ports that have no other.
type NameRedirect struct {
	IP string // of loopback
	Redirect
}

func (r NameRedirect) String() string {
	if r.From == 0 {
		return fmt.Sprintf("%s:*:%d", r.IP, r.To)
	}
	return r.IP + ":" + r.Redirect.String()
}

// NameRedirects are those of a captured pod.
func (p Proxy) NameRedirects() []NameRedirect {
	var redirects []NameRedirect
	for _, up := range p.Upstreams {
		if up.Behind != 0 {
			redirects = append(redirects, NameRedirect{up.Loopback, Redirect{From: up.Listen, To: up.Behind}})
		}
	}
	if p.RestOfNames != 0 {
		for _, host := range p.NamedHosts() {
			redirects = append(redirects, NameRedirect{host.IP, Redirect{To: p.RestOfNames}})
		}
	}
	return redirects
}

// ServerOf is the index of the listener to which connections from outside for a port of the pod come; -1 if none does.
func (p Proxy) ServerOf(port uint16) int {
	return slices.IndexFunc(p.Inbound, func(in Inbound) bool { return in.Listen == port || p.Captured && in.App == port })
}

// OpenPorts are the ports of a captured pod that answer from outside beside those to which Redirects lead, each once:
// what Envoy and its helpers have for the kubelet and for Prometheus.
func (p Proxy) OpenPorts() []uint16 {
	if !p.Captured {
		return nil
	}
	var ports []uint16
	seen := map[uint16]bool{0: true}
	open := func(port uint16) {
		if !seen[port] {
			ports = append(ports, port)
		}
		seen[port] = true
	}
	for _, probe := range p.Probes {
		open(probe.Listen)
	}
	if p.HasTokens() {
		open(JWTProbePort)
	}
	open(p.Metrics.Port)
	return ports
}

// checkCaptured applies the rules of a captured pod, whose callers come to ports of the app.
func (p Proxy) checkCaptured(found *problems) {
	if !p.Captured {
		return
	}
	if p.Gateway {
		found.tell("captured", CaptureOfGateway, "a gateway has no app whose ports could be captured")
		return
	}
	listens := map[uint16]uint16{}
	for i, in := range p.Inbound {
		if in.App == 0 {
			continue
		}
		if earlier, twice := listens[in.App]; twice {
			found.tell(fmt.Sprintf("inbound[%d].app", i), CapturedTwice,
				"expected one listener for each port of the app, to which its callers are led, got another one for %d beside %d: "+
					"remove one of both", in.App, earlier)
			continue
		}
		listens[in.App] = in.Listen
	}
}
