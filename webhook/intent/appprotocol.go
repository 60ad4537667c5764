package intent

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// What an app speaks on a port is in the port's name, by the convention that Services, meshes and gateways share: the
// name is a protocol, or begins with one and a hyphen. So app-port, which says nothing else, goes by it; a listener of
// inbound says its protocol itself.

// protocolsByName are those that are no plain HTTP/1. All other names are no protocols, as web or api.
var protocolsByName = map[string]ir.Protocol{
	"http2": ir.HTTP2,
	"h2c":   ir.HTTP2,
	"grpc":  ir.GRPC,

	"tcp":        ir.TCP,
	"amqp":       ir.TCP,
	"kafka":      ir.TCP,
	"ldap":       ir.TCP,
	"mongo":      ir.TCP,
	"mongodb":    ir.TCP,
	"mqtt":       ir.TCP,
	"mysql":      ir.TCP,
	"nats":       ir.TCP,
	"postgres":   ir.TCP,
	"postgresql": ir.TCP,
	"redis":      ir.TCP,
	"smtp":       ir.TCP,
}

// endsTLS are names of ports where the app ends TLS.
var endsTLS = []string{"tls", "https", "grpcs", "ldaps", "amqps", "mqtts", "rediss"}

// declaredPort is a port of a container, and where it is written.
type declaredPort struct {
	corev1.ContainerPort
	where string
}

// declared is the port of the pod's containers with a number: one of TCP, if there is any.
func declared(pod *corev1.Pod, number uint16) (port declaredPort, ok bool) {
	for c := range ContainersOf(pod) {
		for n, p := range c.Ports {
			if c.Name == SidecarName || p.ContainerPort != int32(number) {
				continue
			}
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				return declaredPort{p, fmt.Sprintf("container %s, ports[%d]", c.Name, n)}, true
			}
			if !ok {
				port, ok = declaredPort{p, fmt.Sprintf("container %s, ports[%d]", c.Name, n)}, true
			}
		}
	}
	return port, ok
}

// protocolName is the part of a port's name that may be a protocol. gRPC-Web is requests of HTTP/1.
func protocolName(port corev1.ContainerPort) string {
	if strings.HasPrefix(port.Name, "grpc-web") {
		return ""
	}
	name, _, _ := strings.Cut(port.Name, "-")
	return name
}

// readAppProtocols finds what the app speaks where app-port leads, and ports of the app that Envoy cannot carry.
func (r *reader) readAppProtocols(pod *corev1.Pod) []Mistake {
	if !r.Mode.Sidecar {
		return nil
	}
	var mistakes []Mistake
	for i := range r.inbound {
		in := &r.inbound[i].Inbound
		port, ok := declared(pod, in.App)
		if !ok || in.App == 0 {
			continue
		}
		where := r.written[AnnotationInbound].where(AnnotationInbound, fmt.Sprintf("[%d].app", i))
		if r.short {
			where = r.written[AnnotationAppPort].where(AnnotationAppPort, "")
		}
		if p := port.Protocol; p != "" && p != corev1.ProtocolTCP {
			mistakes = append(mistakes, Mistake{
				Where: where,
				What:  fmt.Sprintf("expected a port of TCP, but port %d is one of %s (%s), which Envoy does not carry", in.App, p, port.where),
				Hint:  "name a port of TCP, or leave the pod without the label",
			})
			continue
		}
		if !r.short {
			continue
		}
		name := protocolName(port.ContainerPort)
		if slices.Contains(endsTLS, name) {
			mistakes = append(mistakes, Mistake{
				Where: where,
				What: fmt.Sprintf("port %d is named %s (%s): the app ends TLS there, and Envoy speaks plain HTTP to it",
					in.App, port.Name, port.where),
				Hint: fmt.Sprintf("let the app listen without TLS and rename the port, or write instead %s: "+
					"[{listen: %d, app: %d, protocol: tcp}], where mutual TLS is around the app's own", AnnotationInbound, in.Listen, in.App),
			})
			continue
		}
		if in.Protocol = protocolsByName[name]; in.Protocol == ir.HTTP {
			continue
		}
		in.Limits = r.defaultLimits(*in)
		r.Notes = append(r.Notes, Mistake{
			Where: where,
			What:  fmt.Sprintf("Envoy speaks %s to the app, because port %d is named %s (%s)", in.Protocol, in.App, port.Name, port.where),
			Hint: fmt.Sprintf("if it is something else, rename the port, or write instead %s: [{listen: %d, app: %d, protocol: %s}]",
				AnnotationInbound, in.Listen, in.App, ir.HTTP),
		})
	}
	return mistakes
}
