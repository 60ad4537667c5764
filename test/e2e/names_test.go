package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// An app goes on calling a Service by its name and port, in whatever spelling, while it listens on that port itself. The
// callee's Envoy speaks to its app what appProtocol of the Service says.
func TestNames(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	const plain = 7070
	server := workload{
		name:    "api",
		command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080", "--tcp", fmt.Sprintf("0.0.0.0:%d", plain)},
		annotations: identified(ns, "api", map[string]string{
			"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": id(ns, "valid") + " " + id(ns, "captured"),
		}),
	}
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: ns},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "api"},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 8080, TargetPort: intstr.FromInt32(8443), AppProtocol: new("kubernetes.io/h2c")},
				{Name: "http-80", Port: 80, TargetPort: intstr.FromInt32(8443)},
				{Name: "plain", Port: plain},
			},
		},
	}
	calls := func(name string) workload {
		return workload{
			name:    name,
			command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"},
			annotations: identified(ns, name, map[string]string{
				"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": id(ns, "nobody"),
				"spiffe.io/upstreams": list(
					item{"listen": "api:8080", "peers": []string{id(ns, "api")}, "passthrough": []int{plain}},
					item{"listen": "api:80", "peers": []string{id(ns, "api")}},
				),
			}),
		}
	}
	captured := workload{
		name:    "captured",
		command: []string{"/podtool", "api", "--listen", ":8080"},
		annotations: identified(ns, "captured", map[string]string{
			"spiffe.io/capture": "inbound", "spiffe.io/allowed-peers": id(ns, "nobody"),
			"spiffe.io/upstreams": list(item{"listen": "api:8080", "peers": []string{id(ns, "api")}}),
		}),
		edit: func(spec *corev1.PodSpec) {
			spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		},
	}
	apply(t, service)
	apply(t, server.deployment(ns), calls("valid").deployment(ns), calls("invalid").deployment(ns), captured.deployment(ns))
	rollout(t, ns, "deployment/api", "deployment/valid", "deployment/invalid", "deployment/captured")

	callee := onlyPod(t, ns, "api")
	if got := inject.StatusOf(&callee).Envoy.AppProtocols; !slices.Equal(got, []string{"8080:http2"}) {
		t.Errorf("expected the status to have what the Service says, got %q", got)
	}

	for _, host := range []string{
		"api:8080", "api." + ns + ":8080", "api." + ns + ".svc:8080", "api." + ns + ".svc.cluster.local:8080", "api",
	} {
		got := echo(t, ns, "deployment/valid", "http://"+host+"/echo")
		if got.Host != host || !strings.Contains(got.caller(), "URI=spiffe://example.org"+id(ns, "valid")) {
			t.Errorf("%s: the callee saw the Host %q of %q", host, got.Host, got.caller())
		}
		if got.Protocol != "HTTP/2.0" {
			t.Errorf("%s: expected Envoy to speak HTTP/2 to the app, got %s", host, got.Protocol)
		}
	}
	// Its app listens on that port of all addresses, the name's too.
	if got := echo(t, ns, "deployment/captured", "http://api:8080/echo"); got.Host != "api:8080" || !strings.Contains(got.caller(), id(ns, "captured")) {
		t.Errorf("captured: the callee saw the Host %q of %q", got.Host, got.caller())
	}
	out, err := in(t, ns, "deployment/invalid", "/sample", "get", "http://api:8080/echo")
	if err == nil || !strings.HasPrefix(out, "upstream connect error") {
		t.Errorf("expected that the invalid client is refused, got %q (%v)", out, err)
	}
	if report := traffics(t, ns, "deployment/valid", fmt.Sprintf("tcp://api:%d", plain)); report.Failed != 0 || report.Total == 0 {
		t.Errorf("expected answers of the port that passes through, got %+v", report)
	}
}
