package intent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ofServices are the notes about Services that lead past Envoy.
func ofServices(t *testing.T, ns Namespace, pod *corev1.Pod, admitted AppProtocols) []string {
	t.Helper()
	in, mistakes := ParseAdmitted(platform(t), ns, pod, admitted)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	var notes []string
	for _, n := range in.Notes {
		if strings.HasPrefix(n.Where, "Service") {
			notes = append(notes, n.String())
		}
	}
	return notes
}

func TestServicesPastEnvoy(t *testing.T) {
	to := func(target intstr.IntOrString) *corev1.Service { return serviceSaying("api", target, "") }
	changed := func(change func(*corev1.Service)) *corev1.Service {
		s := to(intstr.FromInt32(8080))
		change(s)
		return s
	}
	for name, tt := range map[string]struct {
		service *corev1.Service
		past    bool
	}{
		"to the app":            {to(intstr.FromInt32(8080)), true},
		"to the app's name":     {to(intstr.FromString("web")), true},
		"to Envoy":              {to(intstr.FromInt32(8443)), false},
		"to Envoy's name":       {to(intstr.FromString("mtls-8443")), false},
		"to another port":       {to(intstr.FromInt32(9090)), false},
		"to its own port":       {to(intstr.IntOrString{}), false}, // 80
		"beside one to Envoy":   {changed(func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, to(intstr.FromInt32(8443)).Spec.Ports...) }), true},
		"of other pods":         {changed(func(s *corev1.Service) { s.Spec.Selector["app"] = "other" }), false},
		"of pods with more":     {changed(func(s *corev1.Service) { s.Spec.Selector["tier"] = "" }), false},
		"without a selector":    {changed(func(s *corev1.Service) { s.Spec.Selector = nil }), false},
		"headless":              {changed(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }), false},
		"of UDP":                {changed(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }), false},
		"outside the cluster":   {changed(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }), false},
		"that says a protocol":  {changed(func(s *corev1.Service) { *s.Spec.Ports[0].AppProtocol = "grpc" }), true},
		"headless, and says it": {changed(func(s *corev1.Service) { s.Spec.ClusterIP, *s.Spec.Ports[0].AppProtocol = corev1.ClusterIPNone, "grpc" }), false},
	} {
		notes := ofServices(t, namespaceWith(tt.service), appNamed("web"), nil)
		var want []string
		if tt.past {
			want = []string{"Service demo/api: 80 → 8080, past the Envoy of this pod, which listens on 8443; plain text comes in here: " +
				"write targetPort: 8443, or spiffe.io/capture: inbound for the pods; or take the port away once nobody calls it, and let " +
				"the app listen on 127.0.0.1"}
		}
		if !slices.Equal(notes, want) {
			t.Errorf("%s: expected %q, got %q", name, want, notes)
		}
	}
}

func TestPodsPastWhichNothingLeads(t *testing.T) {
	ns := namespaceWith(serviceSaying("api", intstr.FromInt32(8080), ""))
	for name, change := range map[string]func(*corev1.Pod){
		"captured":        func(pod *corev1.Pod) { pod.Annotations[AnnotationCapture] = captureInbound },
		"open on purpose": func(pod *corev1.Pod) { pod.Annotations[AnnotationPlainPorts] = "8080" },
		"without Envoy": func(pod *corev1.Pod) {
			pod.Annotations = map[string]string{AnnotationMode: "socket"}
		},
	} {
		pod := appNamed("web")
		change(pod)
		if notes := ofServices(t, ns, pod, nil); len(notes) > 0 {
			t.Errorf("%s: got %q", name, notes)
		}
	}
	if notes := ofServices(t, ns, appNamed("web"), AppProtocols{}); len(notes) > 0 {
		t.Errorf("a running pod: got %q", notes)
	}
}

func TestManyServicesPastEnvoy(t *testing.T) {
	var many []*corev1.Service
	for n := range 100 {
		s := serviceSaying(fmt.Sprint("s", n), intstr.FromInt32(8080), "")
		for port := range int32(1000) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: 1000 + port, TargetPort: intstr.FromInt32(8080)})
		}
		many = append(many, s)
	}
	notes := ofServices(t, namespaceWith(many...), appNamed("web"), nil)
	if len(notes) != 4 || !strings.Contains(notes[0], "Service demo/s0: 80 → 8080, 1000 → 8080, 1001 → 8080, 1002 → 8080, 997 more, past") ||
		notes[3] != "Services: 97 more lead past the Envoy of this pod" {
		t.Errorf("expected a few, got %q", notes)
	}
}
