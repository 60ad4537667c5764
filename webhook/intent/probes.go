package intent

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// The kubelet probes a pod at its address, where an app that listens on localhost only cannot be reached, and should
// not be. So its probes ask Envoy, which asks the app: on a port of their own, where each leads to one thing of the app
// and nothing else.

// PodProbe is a probe of a container that Envoy is to answer or to pass on.
type PodProbe struct {
	Container *corev1.Container
	Kind      string // startup, liveness or readiness
	Handler   *corev1.ProbeHandler
	Asked     ir.Probe // what Envoy is asked instead, and what of the app
}

// Key names the probe in a pod's status.
func (p PodProbe) Key() string { return p.Container.Name + "/" + p.Kind }

// ProbesOf are the probes of a pod that Envoy has to do with, with the port on which Envoy takes each. They point into
// the pod.
//
// The listeners of the proxy say where the app is; see [ir.Proxy.PassesOn].
func ProbesOf(pod *corev1.Pod, proxy ir.Proxy) []PodProbe {
	var all []PodProbe
	grpcPorts := map[uint16]uint16{} // the app's port to Envoy's
	nextGRPCPort := uint16(ir.FirstGRPCProbePort)
	for c := range ContainersOf(pod) {
		for _, p := range []struct {
			kind  string
			probe *corev1.Probe
		}{{"startup", c.StartupProbe}, {"liveness", c.LivenessProbe}, {"readiness", c.ReadinessProbe}} {
			if p.probe == nil {
				continue
			}
			asked, ok := probeOf(c, p.kind, p.probe.ProbeHandler)
			asked.AppHost = proxy.AppHostOf(asked.App)
			if !ok || !proxy.PassesOn(asked) {
				continue
			}
			if asked.Kind == ir.ProbeGRPC {
				if _, known := grpcPorts[asked.App]; !known {
					grpcPorts[asked.App] = nextGRPCPort
					nextGRPCPort++
				}
				asked.Listen = grpcPorts[asked.App]
			}
			all = append(all, PodProbe{Container: c, Kind: p.kind, Handler: &p.probe.ProbeHandler, Asked: asked})
		}
	}
	return all
}

// probeOf is what a probe asks of the app. It is false for one that Envoy has nothing to do with: it runs a command,
// asks another host, or names a port that the container does not have, which the kubelet will report.
func probeOf(c *corev1.Container, kind string, h corev1.ProbeHandler) (ir.Probe, bool) {
	p := ir.Probe{Listen: ir.ProbePort, Path: ProbePath(c, kind)}
	var found bool
	switch {
	case h.HTTPGet != nil && h.HTTPGet.Host == "":
		p.Kind, p.Target, p.OwnHost = ir.ProbeHTTP, requestTarget(h.HTTPGet.Path), hasHost(h.HTTPGet)
		if h.HTTPGet.Scheme == corev1.URISchemeHTTPS {
			p.Kind = ir.ProbeHTTPS
		}
		p.App, found = portOf(c, h.HTTPGet.Port)
	case h.TCPSocket != nil && h.TCPSocket.Host == "":
		p.Kind = ir.ProbeTCP
		p.App, found = portOf(c, h.TCPSocket.Port)
	case h.GRPC != nil:
		p.Kind, p.Path = ir.ProbeGRPC, ""
		p.App, found = portOf(c, intstr.FromInt32(h.GRPC.Port))
	}
	return p, found
}

// hasHost says whether the user wrote the header Host.
func hasHost(g *corev1.HTTPGetAction) bool {
	return slices.ContainsFunc(g.HTTPHeaders, func(h corev1.HTTPHeader) bool {
		return strings.EqualFold(h.Name, "Host") && h.Value != ""
	})
}

// requestTarget is the path and query that the kubelet asks for, as it reads what the user wrote: a URL if it is one,
// else a path.
func requestTarget(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Opaque != "" {
		u = &url.URL{Path: path}
	}
	target := "/" + strings.TrimPrefix(u.EscapedPath(), "/")
	if u.RawQuery == "" {
		return target
	}
	var query strings.Builder
	for _, b := range []byte(u.RawQuery) {
		if b > ' ' && b <= '~' {
			query.WriteByte(b)
		} else {
			fmt.Fprintf(&query, "%%%02X", b) // no HTTP request can carry it as it is
		}
	}
	return target + "?" + query.String()
}

func portOf(c *corev1.Container, port intstr.IntOrString) (uint16, bool) {
	number := int(port.IntVal)
	if port.Type == intstr.String {
		for _, declared := range c.Ports {
			if declared.Name == port.StrVal {
				number = int(declared.ContainerPort)
			}
		}
	}
	n, err := portNumber(number)
	return n, err == nil
}

// ProbePath is where the kubelet asks Envoy for one probe.
func ProbePath(c *corev1.Container, kind string) string {
	return fmt.Sprintf("/probe/%s/%s", c.Name, kind)
}
