package intent

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Service is what a Service says of ports of the pods that it selects, and where it leads.
type Service struct {
	Name     string
	Created  time.Time // zero in manifests
	Selector map[string]string
	Headless bool
	Ports    []ServicePort
}

// ServicePort is a TCP port of a [Service]. One of a headless Service says what is spoken there, others may.
type ServicePort struct {
	At          int // in ports of the Service
	Port        uint16
	Target      intstr.IntOrString
	AppProtocol string // empty if it says nothing
}

// ServiceOf is what of a Service takes part in decisions on pods; false if nothing does.
func ServiceOf(s *corev1.Service) (Service, bool) {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return Service{}, false
	}
	out := Service{
		Name:     s.Name,
		Created:  s.CreationTimestamp.Time,
		Selector: s.Spec.Selector,
		Headless: s.Spec.ClusterIP == corev1.ClusterIPNone,
	}
	for n, p := range s.Spec.Ports {
		says := ""
		if p.AppProtocol != nil {
			says = *p.AppProtocol
		}
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP || says == "" && out.Headless {
			continue
		}
		target := p.TargetPort
		if target == (intstr.IntOrString{}) {
			target = intstr.FromInt32(p.Port)
		}
		//nolint:gosec // the API server takes no other ports
		out.Ports = append(out.Ports, ServicePort{At: n, Port: uint16(p.Port), Target: target, AppProtocol: says})
	}
	return out, len(out.Ports) > 0
}

// Selecting is the namespace with those of its Services alone that select a pod, the oldest first.
func (n Namespace) Selecting(pod *corev1.Pod) Namespace {
	var selecting []Service
	for _, s := range n.Services {
		if s.selects(pod.Labels) {
			selecting = append(selecting, s)
		}
	}
	slices.SortFunc(selecting, func(a, b Service) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	n.Services = selecting
	return n
}

// selects is for each Service of a namespace in each admission, and takes no memory.
func (s Service) selects(labels map[string]string) bool {
	for key, value := range s.Selector {
		if got, has := labels[key]; !has || got != value {
			return false
		}
	}
	return true
}

// target is the port of the pod to which one of a Service leads; false for a name that no container of the user's has.
func (p ServicePort) target(pod *corev1.Pod) (uint16, bool) {
	if p.Target.Type == intstr.Int {
		return uint16(p.Target.IntVal), true //nolint:gosec // the API server takes no others
	}
	for c := range ContainersOf(pod) {
		for _, declared := range c.Ports {
			if declared.Name == p.Target.StrVal && c.Name != SidecarName {
				return uint16(declared.ContainerPort), true //nolint:gosec // the API server takes no others
			}
		}
	}
	return 0, false
}

// leadsTo says whether connections to a port of a Service come to the app by way of a listener: to the app's own port,
// or to that of Envoy before it.
func (p ServicePort) leadsTo(pod *corev1.Pod, in ir.Inbound) (app, envoy bool) {
	if target, ok := p.target(pod); ok {
		return target == in.App, target == in.Listen
	}
	return false, p.Target.StrVal == PortName(in)
}
