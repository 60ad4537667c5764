package intent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// serviceSaying is a Service for app: api whose port leads to a target and says a protocol.
func serviceSaying(name string, target intstr.IntOrString, says string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "api"},
		Ports:    []corev1.ServicePort{{Port: 80, TargetPort: target, AppProtocol: &says}},
	}}
}

func namespaceWith(services ...*corev1.Service) Namespace {
	ns := Namespace{Name: "demo"}
	for _, s := range services {
		if one, says := ServiceOf(s); says {
			ns.Services = append(ns.Services, one)
		}
	}
	return ns
}

// appNamed is a pod whose app-port leads to a port of this name.
func appNamed(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"app": "api"},
			Annotations: map[string]string{AnnotationAppPort: "8080", AnnotationAllowedPeers: "/ns/demo/sa/web"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Ports: []corev1.ContainerPort{{Name: name, ContainerPort: 8080}},
		}}},
	}
}

// spokenTo is what Envoy speaks to the app, or the first mistake, with the notes about that.
func spokenTo(t *testing.T, ns Namespace, pod *corev1.Pod) (string, []string) {
	t.Helper()
	in, mistakes := ParseIntent(platform(t), ns, pod)
	notes := ofProtocols(in)
	if len(mistakes) > 0 {
		return mistakes[0].String(), notes
	}
	return in.Proxy.Inbound[0].Protocol.String(), notes
}

// ofProtocols are the notes but for those about ports that stay open, and about Services that lead to them.
func ofProtocols(in Intent) []string {
	var notes []string
	for _, n := range in.Notes {
		if note := n.String(); !strings.Contains(note, "stays open beside Envoy") && !strings.HasPrefix(note, "Service") {
			notes = append(notes, note)
		}
	}
	return notes
}

func TestAppProtocolOfServices(t *testing.T) {
	for says, want := range map[string]string{
		"http": "http", "HTTP": "http", "http2": "http2", "grpc": "grpc", "tcp": "tcp", "postgresql": "tcp",
		"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "grpc-web": "http",
		"https": "ends TLS", "tls": "ends TLS", "kubernetes.io/wss": "ends TLS",
	} {
		got, notes := spokenTo(t, namespaceWith(serviceSaying("api", intstr.FromInt32(8080), says)), appNamed("web"))
		if !strings.Contains(got, want) {
			t.Errorf("appProtocol %s: expected %s, got %s", says, want, got)
		}
		if warns := len(notes) > 0; warns != slices.Contains([]string{"http2", "grpc", "tcp"}, want) {
			t.Errorf("appProtocol %s: a warning is for what is no plain HTTP, got %q", says, notes)
		}
	}
	got, notes := spokenTo(t, namespaceWith(serviceSaying("api", intstr.FromInt32(8080), "example.org/rpc")), appNamed("grpc"))
	if got != "grpc" || len(notes) != 2 || !strings.Contains(notes[0], "example.org/rpc") {
		t.Errorf("expected the name to count beside an unknown protocol, with a warning for each, got %s and %q", got, notes)
	}
}

func TestWhereServicesLead(t *testing.T) {
	for target, counts := range map[intstr.IntOrString]bool{
		intstr.FromInt32(8080): true, intstr.FromString("web"): true,
		intstr.FromInt32(8443): true, intstr.FromString("mtls-8443"): true, // Envoy, before the app
		intstr.FromInt32(80): false, {}: false, intstr.FromString("other"): false, intstr.FromString("tls-8443"): false,
	} {
		got, _ := spokenTo(t, namespaceWith(serviceSaying("api", target, "grpc")), appNamed("web"))
		if (got == "grpc") != counts {
			t.Errorf("target %s: expected that it counts: %t, got %s", target.String(), counts, got)
		}
	}
	pod := appNamed("web")
	pod.Labels["app"] = "other"
	if got, _ := spokenTo(t, namespaceWith(serviceSaying("api", intstr.FromInt32(8080), "grpc")), pod); got != "http" {
		t.Errorf("a Service of other pods counts: %s", got)
	}
	udp := serviceSaying("api", intstr.FromInt32(8080), "grpc")
	udp.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	everything := serviceSaying("api", intstr.FromInt32(8080), "grpc")
	everything.Spec.Selector = nil
	outside := serviceSaying("api", intstr.FromInt32(8080), "grpc")
	outside.Spec.Type = corev1.ServiceTypeExternalName
	for _, s := range []*corev1.Service{udp, everything, outside} {
		if _, says := ServiceOf(s); says {
			t.Errorf("a Service counts that says nothing of TCP ports of pods: %v", s.Spec)
		}
	}
}

func TestServicesThatDiffer(t *testing.T) {
	at := func(s *corev1.Service, hour int) *corev1.Service {
		s.CreationTimestamp = metav1.NewTime(time.Date(2030, 1, 1, hour, 0, 0, 0, time.UTC))
		return s
	}
	saying := func(name, says string, hour int) *corev1.Service {
		return at(serviceSaying(name, intstr.FromInt32(8080), says), hour)
	}
	tests := []struct {
		name     string
		services []*corev1.Service
		want     string
		differs  bool
	}{
		{"the oldest counts", []*corev1.Service{saying("a", "tcp", 2), saying("b", "grpc", 1)}, "grpc", true},
		{"of one age the first name", []*corev1.Service{saying("b", "grpc", 1), saying("a", "tcp", 1)}, "tcp", true},
		{"HTTP/2 and gRPC are alike", []*corev1.Service{saying("a", "http2", 1), saying("b", "grpc", 2)}, "http2", false},
		{"a later one that says TLS", []*corev1.Service{saying("a", "http", 1), saying("b", "https", 2)}, "http", true},
		{"an earlier one that says TLS", []*corev1.Service{saying("a", "https", 1), saying("b", "http", 2)}, "ends TLS", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, notes := spokenTo(t, namespaceWith(tt.services...), appNamed("web"))
			if !strings.Contains(got, tt.want) {
				t.Errorf("expected %s, got %s", tt.want, got)
			}
			names := func(note string) bool {
				return strings.Contains(note, "Service a says") && strings.Contains(note, "Service b says")
			}
			if slices.ContainsFunc(notes, names) != tt.differs {
				t.Errorf("expected a warning with both names: %t, got %q", tt.differs, notes)
			}
		})
	}
	var many []*corev1.Service
	for n := range 100 {
		many = append(many, saying(fmt.Sprint("s", n), []string{"http", "tcp", "example.org/rpc"}[n%3], n))
	}
	if _, notes := spokenTo(t, namespaceWith(many...), appNamed("web")); len(notes) != 2 {
		t.Errorf("expected one warning of each kind, got %q", notes)
	}
}

func TestAdmittedAppProtocols(t *testing.T) {
	ns := namespaceWith(serviceSaying("api", intstr.FromInt32(8080), "https"))
	for _, admitted := range []AppProtocols{{}, {8080: ir.GRPC}} {
		in, mistakes := ParseAdmitted(platform(t), ns, appNamed("tls"), admitted)
		if notes := ofProtocols(in); len(mistakes)+len(notes) > 0 {
			t.Fatalf("expected nothing against an admitted pod, got %v %v", mistakes, notes)
		}
		if got := in.Proxy.Inbound[0].Protocol; got != admitted[8080] {
			t.Errorf("expected %s as at its admission, got %s", admitted[8080], got)
		}
		if len(in.AppProtocols) != len(admitted) {
			t.Errorf("expected %v to stay, got %v", admitted, in.AppProtocols)
		}
	}
}
