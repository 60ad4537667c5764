package intent

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Service is what a Service says of ports of the pods that it selects.
type Service struct {
	Name     string
	Created  time.Time // zero in manifests
	Selector map[string]string
	Ports    []ServicePort
}

// ServicePort is a port of a [Service] that says what is spoken there.
type ServicePort struct {
	At          int // in ports of the Service
	Target      intstr.IntOrString
	AppProtocol string
}

// ServiceOf is what of a Service takes part in decisions on pods; false if nothing does.
func ServiceOf(s *corev1.Service) (Service, bool) {
	out := Service{Name: s.Name, Created: s.CreationTimestamp.Time, Selector: s.Spec.Selector}
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return Service{}, false
	}
	for n, p := range s.Spec.Ports {
		if p.AppProtocol == nil || *p.AppProtocol == "" || p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			continue
		}
		target := p.TargetPort
		if target == (intstr.IntOrString{}) {
			target = intstr.FromInt32(p.Port)
		}
		out.Ports = append(out.Ports, ServicePort{At: n, Target: target, AppProtocol: *p.AppProtocol})
	}
	return out, len(out.Ports) > 0
}

// Selecting is the namespace with those of its Services alone that select a pod, the oldest first.
func (n Namespace) Selecting(pod *corev1.Pod) Namespace {
	labels := k8slabels.Set(pod.Labels)
	var selecting []Service
	for _, s := range n.Services {
		if k8slabels.SelectorFromSet(s.Selector).Matches(labels) {
			selecting = append(selecting, s)
		}
	}
	slices.SortFunc(selecting, func(a, b Service) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	n.Services = selecting
	return n
}

// leadsTo says whether connections to a port of a Service come to the app by way of a listener: to the app's own port,
// or to that of Envoy before it.
func (p ServicePort) leadsTo(pod *corev1.Pod, in ir.Inbound) (app, envoy bool) {
	if p.Target.Type == intstr.Int {
		return p.Target.IntValue() == int(in.App), p.Target.IntValue() == int(in.Listen)
	}
	for c := range ContainersOf(pod) {
		for _, declared := range c.Ports {
			if declared.Name == p.Target.StrVal && c.Name != SidecarName {
				return declared.ContainerPort == int32(in.App), declared.ContainerPort == int32(in.Listen)
			}
		}
	}
	return false, p.Target.StrVal == PortName(in)
}
