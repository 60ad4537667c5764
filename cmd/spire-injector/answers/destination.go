package answers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// destination is where an address leads.
type destination struct {
	service  Object // zero: the address is none of a Service of the cluster
	backends []backend
	// why says why there are no backends, or why that is not known.
	why     Reason
	unknown bool
}

// backend is what an address leads to: pods, and a port of theirs.
type backend struct {
	group *Group
	port  uint16
	// ready of all are endpoints of the Service; both are 0 where that is not known.
	ready, all int
}

// leadsTo finds where an address leads, as pods of a namespace resolve it.
func (m *Mesh) leadsTo(a ir.Address, from string) destination {
	name, pod, ok := m.serviceName(a, from)
	if !ok {
		return destination{
			unknown: true,
			why:     Reason{Found: fmt.Sprintf("%s is no Service of this cluster: what is there is not known", a.Host())},
		}
	}
	d := destination{service: name}
	s := m.services[name.Short()]
	if s == nil {
		d.unknown, d.why = m.noService(name, a)
		return d
	}
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		d.unknown, d.why = true, Reason{Found: fmt.Sprintf("%s is a name for a host outside the cluster", name)}
		return d
	case !isHeadless(s) && portOf(s, a.Port()) == nil:
		d.why = m.noPort(s, a)
		return d
	}
	d.backends = m.backends(s, a.Port(), pod)
	if len(d.backends) == 0 {
		d.unknown = len(s.Spec.Selector) == 0
		d.why = m.nothingBehind(s)
	}
	return d
}

// serviceName is the Service that an address names, and the pod of it where it names one.
func (m *Mesh) serviceName(a ir.Address, from string) (name Object, pod string, ok bool) {
	in := func(namespace, name string) Object { return Object{Kind: "Service", Namespace: namespace, Name: name} }
	if a.IsIP() {
		for _, s := range m.Services {
			if s.Spec.ClusterIP == a.Host() {
				return in(s.Namespace, s.Name), "", true
			}
		}
		return Object{}, "", false
	}
	domain := ""
	if m.Platform != nil {
		domain = m.Platform.ClusterDomain
	}
	s, ok := a.Service(from, domain)
	if !ok || s.Ambiguous && !m.hasNamespace(s.Namespace) {
		return Object{}, "", false
	}
	return in(s.Namespace, s.Name), s.Pod, true
}

// hasNamespace says whether something of a namespace is known.
func (m *Mesh) hasNamespace(name string) bool {
	if _, ok := m.Namespaces[name]; ok {
		return true
	}
	return slices.ContainsFunc(m.Services, func(s corev1.Service) bool { return s.Namespace == name })
}

// servicesIn are the names of a namespace's Services, in order.
func (m *Mesh) servicesIn(namespace string) []string {
	var names []string
	for _, s := range m.Services {
		if s.Namespace == namespace {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// noService is about an address whose Service is not there. Manifests may leave out a namespace as a whole.
func (m *Mesh) noService(name Object, a ir.Address) (unknown bool, why Reason) {
	here := m.servicesIn(name.Namespace)
	switch {
	case m.Unread[SourceServices] != nil, m.Only != "" && m.Only != name.Namespace:
		return true, Reason{Found: fmt.Sprintf("%s was not read", name)}
	case !m.Live && len(here) == 0:
		return true, Reason{Found: fmt.Sprintf("%s is not among the manifests, and no other of namespace %s", name, name.Namespace)}
	}
	if m.Live && !m.hasNamespace(name.Namespace) && m.Unread[SourceNamespaces] == nil {
		return false, Reason{
			Found:  fmt.Sprintf("there is no namespace %s, and so no Service %s in it", name.Namespace, name.Name),
			Remedy: "write another address",
		}
	}
	if near := intent.Nearest(name.Name, here...); near != "" {
		host := near + strings.TrimPrefix(a.Host(), name.Name)
		return false, Reason{
			Found:  fmt.Sprintf("no Service %s in %s; did you mean %s:%d?", name.Name, name.Namespace, host, a.Port()),
			Remedy: fmt.Sprintf("write address: \"%s:%d\"", host, a.Port()),
		}
	}
	if elsewhere := m.namespacesWith(name.Name); len(elsewhere) > 0 {
		host := fmt.Sprintf("%s.%s.svc:%d", name.Name, elsewhere[0], a.Port())
		return false, Reason{
			Found: fmt.Sprintf("no Service %s in %s; there is one in %s", name.Name, name.Namespace,
				strings.Join(elsewhere[:min(len(elsewhere), mostNames)], ", ")),
			Remedy: fmt.Sprintf("write address: %q", host),
		}
	}
	return false, Reason{
		Found:  fmt.Sprintf("no Service %s in %s", name.Name, name.Namespace),
		Remedy: "create it, or write another address; " + servicesThere(name.Namespace, here),
	}
}

func servicesThere(namespace string, names []string) string {
	if len(names) == 0 {
		return "namespace " + namespace + " has no Services"
	}
	text := strings.Join(names[:min(len(names), mostNames)], ", ")
	if more := len(names) - mostNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "Services of " + namespace + ": " + text
}

func (m *Mesh) namespacesWith(service string) []string {
	found := map[string]bool{}
	for _, s := range m.Services {
		if s.Name == service {
			found[s.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// noPort is about a Service without the port of an address.
func (m *Mesh) noPort(s *corev1.Service, a ir.Address) Reason {
	name := fmt.Sprintf("Service %s/%s", s.Namespace, s.Name)
	listens := m.listensBehind(s)
	var ports []string
	for _, p := range s.Spec.Ports {
		ports = append(ports, fmt.Sprintf("%d → %s", p.Port, target(p)))
		if n := numberOf(p); slices.Contains(listens, n) {
			return Reason{
				Found: fmt.Sprintf("%s: %s, none is %d", name, strings.Join(ports, ", "), a.Port()),
				Remedy: fmt.Sprintf("write address: \"%s:%d\", which leads to %d, where its sidecars listen",
					a.Host(), p.Port, n),
			}
		}
	}
	if len(listens) == 0 {
		return Reason{
			Found:  fmt.Sprintf("%s: %s, none is %d", name, strings.Join(ports, ", "), a.Port()),
			Remedy: "write an address with one of its ports, or add the port",
		}
	}
	return Reason{
		Found: fmt.Sprintf("%s: %s, none to %s, where its sidecars listen", name, strings.Join(ports, ", "), join(listens)),
		Remedy: fmt.Sprintf("ports of the Service: [{name: mtls, port: %d, targetPort: %d}]",
			a.Port(), nearestPort(listens, a.Port())),
	}
}

// nearestPort is the one that is meant, or the first.
func nearestPort(ports []uint16, port uint16) uint16 {
	if slices.Contains(ports, port) {
		return port
	}
	return ports[0]
}

func join(ports []uint16) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = fmt.Sprint(p)
	}
	return strings.Join(texts, " or ")
}

// listensBehind are the ports on which sidecars behind a Service serve callers.
func (m *Mesh) listensBehind(s *corev1.Service) []uint16 {
	var ports []uint16
	for _, g := range m.selected(s) {
		for _, in := range g.Intent.Proxy.Inbound {
			if !slices.Contains(ports, in.Listen) {
				ports = append(ports, in.Listen)
			}
		}
	}
	slices.Sort(ports)
	return ports
}

// nothingBehind is about a Service without pods.
func (m *Mesh) nothingBehind(s *corev1.Service) Reason {
	name := fmt.Sprintf("Service %s/%s", s.Namespace, s.Name)
	if len(s.Spec.Selector) == 0 {
		return Reason{Found: name + " has no selector: what is behind it is not known"}
	}
	return Reason{
		Found:  fmt.Sprintf("%s selects %s, which no pod has", name, k8slabels.Set(s.Spec.Selector)),
		Remedy: "mend spec.selector of the Service, or the labels of the pods that it is for",
	}
}

// selected are the groups that a Service leads to by its selector.
func (m *Mesh) selected(s *corev1.Service) []*Group {
	if len(s.Spec.Selector) == 0 {
		return nil
	}
	selector := k8slabels.SelectorFromSet(s.Spec.Selector)
	var groups []*Group
	for _, w := range m.inNamespace(s.Namespace) {
		for _, g := range w.Groups {
			selects := func(p Pod) bool { return selector.Matches(k8slabels.Set(p.Labels)) }
			if selector.Matches(k8slabels.Set(g.Asked.Labels)) || slices.ContainsFunc(g.Pods, selects) {
				groups = append(groups, g)
			}
		}
	}
	return groups
}

// inNamespace are the workloads of a namespace.
func (m *Mesh) inNamespace(name string) []*Workload {
	at, _ := slices.BinarySearchFunc(m.Workloads, name, func(w *Workload, ns string) int {
		return strings.Compare(w.Namespace, ns)
	})
	end := at
	for end < len(m.Workloads) && m.Workloads[end].Namespace == name {
		end++
	}
	return m.Workloads[at:end]
}

// backends are what a port of a Service leads to; only the named pod's where there is a name.
func (m *Mesh) backends(s *corev1.Service, port uint16, pod string) []backend {
	var all []backend
	seen := map[*Group]int{}
	add := func(g *Group, port uint16) *backend {
		if at, ok := seen[g]; ok {
			return &all[at]
		}
		seen[g] = len(all)
		all = append(all, backend{group: g, port: port})
		return &all[len(all)-1]
	}
	declared := portOf(s, port)
	for _, g := range m.selected(s) {
		if pod != "" && !slices.ContainsFunc(g.Pods, func(p Pod) bool { return p.Name == pod }) && len(g.Pods) > 0 {
			continue
		}
		if isHeadless(s) {
			add(g, port)
		} else if n, ok := targetOf(*declared, g); ok {
			add(g, n)
		}
	}
	for _, slice := range m.slices[s.Namespace+"/"+s.Name] {
		n, ok := port, true
		if !isHeadless(s) {
			n, ok = portIn(slice, declared.Name)
		}
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || pod != "" && e.TargetRef.Name != pod {
				continue
			}
			g := m.byPod[s.Namespace+"/"+e.TargetRef.Name]
			if g == nil {
				continue
			}
			b := add(g, n)
			b.port = n // as Kubernetes has resolved it
			b.all++
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				b.ready++
			}
		}
	}
	return all
}

func portIn(slice discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, p := range slice.Ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return uint16(*p.Port), true //nolint:gosec // the API server takes no others
		}
	}
	return 0, false
}

func isHeadless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

func portOf(s *corev1.Service, port uint16) *corev1.ServicePort {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Port == int32(port) && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return p
		}
	}
	return nil
}

// target is where a port leads, for people.
func target(p corev1.ServicePort) string {
	if p.TargetPort.Type == intstr.Int && p.TargetPort.IntVal == 0 {
		return fmt.Sprint(p.Port)
	}
	return p.TargetPort.String()
}

// numberOf is the port of pods that a Service's port leads to; 0 where it has their port's name.
func numberOf(p corev1.ServicePort) uint16 {
	switch {
	case p.TargetPort.Type == intstr.String:
		return 0
	case p.TargetPort.IntVal == 0:
		return uint16(p.Port) //nolint:gosec // the API server takes no others
	}
	return uint16(p.TargetPort.IntVal) //nolint:gosec // the API server takes no others
}

// targetOf is the port of a group's pods that a Service's port leads to; false where no pod has one of that name.
func targetOf(p corev1.ServicePort, g *Group) (uint16, bool) {
	if p.TargetPort.Type != intstr.String {
		return numberOf(p), true
	}
	of := g.Asked
	if len(g.Pods) > 0 {
		of = g.Pods[0].Pod
	}
	for _, c := range portsOf(of) {
		if c.Name == p.TargetPort.StrVal {
			return uint16(c.ContainerPort), true //nolint:gosec // the API server takes no others
		}
	}
	for _, in := range g.Intent.Proxy.Inbound {
		if p.TargetPort.StrVal == intent.PortName(in) {
			return in.Listen, true
		}
	}
	return 0, false
}
