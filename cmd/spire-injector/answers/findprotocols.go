package answers

import (
	"fmt"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// findProtocols finds pods whose Envoy speaks something else to the app than that of a new pod would: a Service that came
// after them says it, or their names did not count when they were injected.
func (m *Mesh) findProtocols() []Finding {
	if m.Platform == nil {
		return nil
	}
	var out []Finding
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			if g.State != Injected || len(g.Pods) == 0 || !g.Known {
				continue
			}
			if r := m.otherProtocol(g); r != (Reason{}) {
				out = append(out, w.finding(Warning, r))
				break
			}
		}
	}
	return out
}

// otherProtocol says where a group's protocol is another one for new pods. That new pods are denied is found elsewhere.
func (m *Mesh) otherProtocol(g *Group) Reason {
	next, mistakes := intent.ParseIntent(*m.Platform, m.namespace(g.Of.Namespace), g.Asked)
	if len(mistakes) > 0 {
		return Reason{}
	}
	for _, is := range g.Intent.Proxy.Inbound {
		for _, will := range next.Proxy.Inbound {
			if is.App == will.App && is.Protocol != will.Protocol {
				return Reason{
					Found: fmt.Sprintf("Envoy speaks %s to port %d of the app, and in new pods it will speak %s, by what Services or the "+
						"names of ports say", is.Protocol, is.App, will.Protocol),
					Remedy: "make its pods anew, such as by kubectl rollout restart; or write the protocol into " + intent.AnnotationInbound,
				}
			}
		}
	}
	return Reason{}
}
