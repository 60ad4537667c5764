package ir

import "fmt"

// portOwners says who has each port of a pod, whose containers share them.
type portOwners struct {
	envoy map[uint16]string
	app   map[uint16]string
}

// checkPorts gives each port to whoever asks first: what Envoy always has, the app's containers, listeners, and
// upstreams.
func (p Proxy) checkPorts(found *problems) portOwners {
	ports := p.ownPorts(found)
	for i, app := range p.AppPorts {
		if owner := ports.envoy[app.Port]; owner != "" {
			found.tell(
				fmt.Sprintf("appPorts[%d]", i),
				PortTaken,
				"port %d is used by %s; let the app listen on another port",
				app.Port,
				owner,
			)
		} else if ports.app[app.Port] == "" {
			ports.app[app.Port] = "container " + app.Container
		}
	}
	for i, in := range p.Inbound {
		path := fmt.Sprintf("inbound[%d].listen", i)
		switch {
		case in.Listen == 0:
			found.tell(path, ListenMissing, "expected the port that callers use, from 1 to 65535, got none")
		case in.App != in.Listen: // otherwise it is the app's port that is wrong
			ports.claim(found, path, in.Listen, "the inbound listener")
		}
	}
	p.checkNames(found, ports)
	for i, up := range p.Upstreams {
		path := fmt.Sprintf("upstreams[%d].listen", i)
		switch {
		case up.Behind != 0:
			ports.claim(found, path, up.Behind, fmt.Sprintf("upstream %d", i))
		case !up.Name.IsZero():
		case up.Listen != 0:
			ports.claim(found, path, up.Listen, fmt.Sprintf("upstream %d", i))
		case !p.Gateway && up.Match.IsZero():
			found.tell(path, ListenMissing, "expected the port on 127.0.0.1 that the app talks to, from 1 to 65535, got none")
		}
	}
	return ports
}

// ownPorts are those that Envoy has whatever its listeners are.
func (p Proxy) ownPorts(found *problems) portOwners {
	ports := portOwners{app: map[uint16]string{}, envoy: map[uint16]string{
		AdminPort:     "the sidecar's admin interface",
		ReadinessPort: "the sidecar's readiness endpoint",
	}}
	const forProbes = "the sidecar, for the kubelet's probes"
	if p.HasTokens() {
		ports.envoy[JWTProbePort] = forProbes
	}
	shared := map[uint16]bool{} // by probes that are told apart by their path
	if p.Captured {
		ports.envoy[CapturePort] = "the sidecar, for the rules that capture connections"
	}
	for i, probe := range p.Probes {
		if probe.Kind == ProbeGRPC || !shared[probe.Listen] {
			ports.claim(found, fmt.Sprintf("probes[%d].listen", i), probe.Listen, forProbes)
		}
		shared[probe.Listen] = probe.Kind != ProbeGRPC
	}
	if p.Metrics.Port != 0 {
		ports.claim(found, "metrics.port", p.Metrics.Port, "the sidecar's statistics")
	}
	return ports
}

// claim gives a port to Envoy.
func (o portOwners) claim(found *problems, path string, port uint16, use string) {
	owner := o.envoy[port]
	if owner == "" {
		owner = o.app[port]
	}
	if owner != "" {
		found.tell(path, PortTaken, "port %d is already used by %s; choose another port", port, owner)
		return
	}
	o.envoy[port] = use
}
