package intent

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// What an app speaks on a port is said by the Services that lead to it, in appProtocol, and by the port's name, by the
// convention that Services, meshes and gateways share: the name is a protocol, or begins with one and a hyphen. So
// app-port, which says nothing else, goes by them; a listener of inbound says its protocol itself.
//
// A Service counts more than a name. Where Services differ, the oldest counts: a later one does not break what works.

// AppProtocols are what the app of an admitted pod speaks where no annotation says it, by its port. On ports that are
// not there it is HTTP/1.
type AppProtocols map[uint16]ir.Protocol

// protocolsByName are those that are no plain HTTP/1. All other names of ports are no protocols, as web or api.
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

// ofServicesAlone are values of appProtocol that are no names of ports, by the name that says the same: what Kubernetes
// defines (KEP-3726), HTTP/1, and requests of HTTP/1 that carry gRPC.
var ofServicesAlone = map[string]string{
	"kubernetes.io/h2c": "h2c",
	"kubernetes.io/ws":  "http",
	"kubernetes.io/wss": "https",
	"ws":                "http",
	"wss":               "https",
	"grpc-web":          "http",
}

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

// spoken is what the app speaks on a port.
type spoken struct {
	protocol ir.Protocol
	tls      bool   // which the app ends
	because  string // empty if nothing says it
	rename   string // what to mend if it is wrong
}

func (s spoken) String() string {
	if s.tls {
		return "TLS"
	}
	return s.protocol.String()
}

// differs says whether one cannot stand for the other.
func (s spoken) differs(other spoken) bool {
	alike := s.protocol == other.protocol || s.protocol.IsHTTP2() && other.protocol.IsHTTP2()
	return s.tls != other.tls || !alike
}

// named is what the name of a port says. gRPC-Web is requests of HTTP/1.
func (p declaredPort) named(number uint16) spoken {
	if strings.HasPrefix(p.Name, "grpc-web") {
		return spoken{}
	}
	name, _, _ := strings.Cut(p.Name, "-")
	s := spoken{protocol: protocolsByName[name], tls: slices.Contains(endsTLS, name), rename: "rename the port"}
	if s.protocol != ir.HTTP || s.tls {
		s.because = fmt.Sprintf("port %d is named %s (%s)", number, p.Name, p.where)
	}
	return s
}

// servicesSay is what Services say of the port of the app that a listener leads to. The notes are on what they say
// otherwise, or what is not understood, one for each.
func servicesSay(services []Service, pod *corev1.Pod, in ir.Inbound) (is spoken, notes []string) {
	differs, unknown := "", ""
	for _, s := range services {
		for _, p := range s.Ports {
			if p.AppProtocol == "" {
				continue
			}
			app, envoy := p.leadsTo(pod, in)
			if !app && !envoy {
				continue
			}
			says := fmt.Sprintf("Service %s says appProtocol %s (ports[%d])", s.Name, p.AppProtocol, p.At)
			one, known := parseAppProtocol(p.AppProtocol)
			one.because, one.rename = says, "change appProtocol of Service "+s.Name
			switch {
			case !known:
				if unknown == "" {
					unknown = says + ", which is no protocol that is known here and does not count"
				}
			case one.tls && !app: // that of Envoy
			case is.because == "":
				is = one
			case is.differs(one) && differs == "":
				differs = fmt.Sprintf("%s, and %s: the older Service counts", is.because, says)
			}
		}
	}
	for _, note := range []string{differs, unknown} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	return is, notes
}

// parseAppProtocol reads an appProtocol; false for one that is not known.
func parseAppProtocol(value string) (spoken, bool) {
	name := strings.ToLower(value)
	if same, ok := ofServicesAlone[name]; ok {
		name = same
	}
	protocol, known := protocolsByName[name]
	tls := slices.Contains(endsTLS, name)
	return spoken{protocol: protocol, tls: tls}, known || tls || name == ir.HTTP.String()
}

// readAppProtocols finds what the app speaks where app-port leads, and on captured ports that nobody mentions, and ports of
// the app that Envoy cannot carry. An admitted pod goes on with what it was admitted with.
func (r *reader) readAppProtocols(pod *corev1.Pod) []Mistake {
	if !r.Mode.Sidecar {
		return nil
	}
	services := r.namespace.Selecting(pod).Services
	var mistakes []Mistake
	for i := range r.inbound {
		in := &r.inbound[i].Inbound
		port, isDeclared := declared(pod, in.App)
		switch {
		case in.App == 0:
		case r.admitted != nil:
			if r.goesBy(i) {
				r.speak(in, r.admitted[in.App])
			}
		case isDeclared && port.Protocol != "" && port.Protocol != corev1.ProtocolTCP:
			if r.Proxy.Captured {
				continue // told as a port that is not captured
			}
			mistakes = append(mistakes, Mistake{
				Where: r.whereInbound(i, ".app"),
				What:  fmt.Sprintf("expected a port of TCP, but port %d is one of %s (%s), which Envoy does not carry", in.App, port.Protocol, port.where),
				Hint:  "name a port of TCP, or leave the pod without the label",
			})
		case r.goesBy(i):
			mistakes = append(mistakes, r.findSpoken(i, pod, port, services)...)
		}
	}
	return mistakes
}

// goesBy says whether a listener's protocol is what names and Services say.
func (r *reader) goesBy(i int) bool { return r.short || r.inbound[i].declaredBy != "" }

// findSpoken gives a listener the protocol that is spoken behind it.
func (r *reader) findSpoken(i int, pod *corev1.Pod, port declaredPort, services []Service) []Mistake {
	in := &r.inbound[i].Inbound
	where := r.whereInbound(i, ".app")
	item, instead := fmt.Sprintf("listen: %d, app: %d", in.Listen, in.App), "instead "+AnnotationInbound
	if r.inbound[i].declaredBy != "" {
		item, instead = fmt.Sprintf("app: %d", in.App), AnnotationInbound
	}
	byName := port.named(in.App)
	is, notes := servicesSay(services, pod, *in)
	meant := is.protocol
	if is.tls {
		meant = ir.TCP
	}
	for _, note := range notes {
		r.Notes = append(r.Notes, Mistake{
			Where: where,
			What:  note,
			Hint:  fmt.Sprintf("let the Services say one protocol of %s, or write %s: [{%s, protocol: %s}]", protocolNames(), instead, item, meant),
		})
	}
	if is.because == "" {
		is = byName
	}
	if is.tls {
		return []Mistake{{
			Where: where,
			What:  is.because + ": the app ends TLS there, and Envoy speaks plain HTTP to it",
			Hint: fmt.Sprintf("let the app listen without TLS and %s, or write %s: [{%s, protocol: tcp}], where mutual TLS is "+
				"around the app's own", is.rename, instead, item),
		}}
	}
	r.speak(in, is.protocol)
	if is.protocol == ir.HTTP && !is.differs(byName) {
		return nil
	}
	other := ir.HTTP
	if is.protocol == ir.HTTP {
		other = byName.protocol
	}
	if byName.tls {
		other = ir.TCP
	}
	r.Notes = append(r.Notes, Mistake{
		Where: where,
		What:  fmt.Sprintf("Envoy speaks %s to the app, because %s", is.protocol, is.because),
		Hint:  fmt.Sprintf("if it is something else, %s, or write %s: [{%s, protocol: %s}]", is.rename, instead, item, other),
	})
	return nil
}

// speak gives a listener the protocol that was found.
func (r *reader) speak(in *ir.Inbound, protocol ir.Protocol) {
	if in.Protocol = protocol; protocol == ir.HTTP {
		return
	}
	in.Limits = r.defaultLimits(*in)
	if r.AppProtocols == nil {
		r.AppProtocols = AppProtocols{}
	}
	r.AppProtocols[in.App] = protocol
}

// protocolNames lists the protocols.
func protocolNames() string { return strings.Join(ir.Protocols(), ", ") }
