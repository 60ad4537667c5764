package answers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// findServices finds Services that lead to nobody's sidecar, or past one.
func (m *Mesh) findServices() []Finding {
	reached := map[*Group]bool{} // by some Service
	type lead struct {
		service *corev1.Service
		groups  []*Group
		around  *Group // the first to whose app it leads
		ports   []intent.PastPort
	}
	var leads []lead
	for i := range m.Services {
		s := &m.Services[i]
		groups := slices.DeleteFunc(m.selected(s), func(g *Group) bool { return !g.serves() || len(g.Intent.Proxy.Inbound) == 0 })
		if len(groups) == 0 {
			continue
		}
		l := lead{service: s, groups: groups}
		for _, port := range s.Spec.Ports {
			if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
				continue
			}
			for _, b := range m.backends(s, uint16(port.Port), "") { //nolint:gosec // the API server takes no others
				if !slices.Contains(groups, b.group) {
					continue
				}
				if isHeadless(s) { // a name for each pod, whatever port is called
					reached[b.group] = true
					continue
				}
				p := b.group.Intent.Proxy
				if p.ServerOf(b.port) >= 0 {
					reached[b.group] = true
				} else if past, ok := intent.PastEnvoy(p, uint16(port.Port), b.port); ok { //nolint:gosec // as above
					l.ports = append(l.ports, past)
					if l.around == nil {
						l.around = b.group
					}
				}
			}
		}
		leads = append(leads, l)
	}
	var out []Finding
	for _, l := range leads {
		where := fmt.Sprintf("Service %s/%s", l.service.Namespace, l.service.Name)
		if len(l.ports) > 0 {
			found, remedy := intent.PastEnvoyOf(l.around.Of.String(), l.ports)
			out = append(out, Finding{Severity: Warning, Where: where, Found: found, Remedy: remedy})
			continue
		}
		if g := firstUnreached(l.groups, reached); g != nil && !isHeadless(l.service) {
			listens := m.listensBehind(l.service)
			address, err := ir.ParseAddress(fmt.Sprintf("%s.%s.svc:%d", l.service.Name, l.service.Namespace, listens[0]))
			if err == nil && portOf(l.service, listens[0]) == nil {
				r := m.noPort(l.service, address)
				out = append(out, Finding{Severity: Warning, Where: where, Found: r.Found, Remedy: r.Remedy})
			}
		}
	}
	return out
}

func firstUnreached(groups []*Group, reached map[*Group]bool) *Group {
	for _, g := range groups {
		if !reached[g] {
			return g
		}
	}
	return nil
}

// findMismatches finds calls that do not pass, for more than that one side is not injected.
func (m *Mesh) findMismatches() []Finding {
	if m.Platform == nil {
		return nil
	}
	var out []Finding
	for _, e := range m.edges(false) {
		if e.Agreement != Mismatch || m.isUninjected(e.To) {
			continue
		}
		out = append(out, Finding{
			Severity: Broken,
			Where:    e.From + " → " + e.To,
			Found:    e.Found,
			Remedy:   e.Remedy,
		})
	}
	return out
}

// isUninjected says whether a workload, by its name in an edge, has no sidecar: another finding says why.
func (m *Mesh) isUninjected(name string) bool {
	w := m.named(name)
	if w == nil {
		return false
	}
	g := w.main()
	return g.State == NotInjected || g.State == Denied || g.State == NotAsked && m.meant(g)
}
