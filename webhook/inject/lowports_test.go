package inject

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// onPorts is a pod whose Envoy listens on these ports.
func onPorts(inbound, upstream uint16, own ...corev1.Sysctl) *corev1.Pod {
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	pod.Annotations[intent.AnnotationInbound] = fmt.Sprintf("- {listen: %d, app: 8080}", inbound)
	pod.Annotations[intent.AnnotationUpstreams] = fmt.Sprintf(
		`- {listen: %d, address: "db.demo.svc:8443", peers: [/db]}`, upstream,
	)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: own}
	return pod
}

func TestPortsBelow1024(t *testing.T) {
	other := corev1.Sysctl{Name: "net.ipv4.ip_local_port_range", Value: "32768 60999"}
	start := func(value string) corev1.Sysctl { return corev1.Sysctl{Name: portStart, Value: value} }
	gateway := onPorts(80, 0)
	gateway.Annotations = map[string]string{
		intent.AnnotationMode:      "gateway",
		intent.AnnotationInbound:   "[{listen: 80, tls: none}]",
		intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
	}
	gateway.Spec.Containers = []corev1.Container{{Name: intent.SidecarName, Image: imageAuto}}
	withoutContext := onPorts(443, 8000)
	withoutContext.Spec.SecurityContext = nil
	socket := webhooktest.Server()
	socket.Annotations = map[string]string{intent.AnnotationMode: "socket"}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want []corev1.Sysctl
	}{
		"none below":                 {onPorts(1024, 8000), nil},
		"an inbound port":            {onPorts(443, 8000), []corev1.Sysctl{start("0")}},
		"an upstream's":              {onPorts(8443, 80), []corev1.Sysctl{start("0")}},
		"beside another setting":     {onPorts(443, 80, other), []corev1.Sysctl{other, start("0")}},
		"a setting of the pod's":     {onPorts(443, 80, start("80")), []corev1.Sysctl{start("80")}},
		"without a security context": {withoutContext, []corev1.Sysctl{start("0")}},
		"a gateway's":                {gateway, []corev1.Sysctl{start("0")}},
		"without Envoy":              {socket, nil},
	} {
		t.Run(name, func(t *testing.T) {
			injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
			res, err := injector.Inject(intent.Namespace{Name: "demo"}, test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, sysctls(res.Pod)); diff != "" {
				t.Errorf("sysctls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(sysctls(test.pod), sysctls(strip(res.Pod)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("sysctls without injection (-want +got):\n%s", diff)
			}
			if again, err := injector.Validate(intent.Namespace{Name: "demo"}, res.Pod); err != nil || !again.Inject {
				t.Errorf("injected again: %v", err)
			}
			if StatusOf(res.Pod).UnprivilegedPorts {
				taken := res.Pod.DeepCopy()
				taken.Spec.SecurityContext.Sysctls = nil
				_, err := injector.Validate(intent.Namespace{Name: "demo"}, taken)
				wantRefusal(t, err, reason.Tampered, "spec.securityContext.sysctls")
			}
		})
	}
}

func TestPortsBelow1024AreNotPossible(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	for name, test := range map[string]struct {
		sysctl corev1.Sysctl
		got    string
	}{
		"above the lowest": {corev1.Sysctl{Name: portStart, Value: "81"}, `got "81"`},
		"with slashes":     {corev1.Sysctl{Name: "net/ipv4/ip_unprivileged_port_start", Value: "1024"}, `got "1024"`},
		"no number":        {corev1.Sysctl{Name: portStart, Value: "x"}, `got "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := injector.Inject(intent.Namespace{Name: "demo"}, onPorts(443, 80, test.sysctl))
			wantMistakes(t, err, reason.Invalid, []string{
				"spec.securityContext.sysctls[0]: expected " + portStart + " of at most 80, because Envoy listens on port 80 " +
					"and does not run as root, " + test.got + `; write "0", or remove it`,
			})
		})
	}
	// Nothing of Envoy's needs it: it is the app's own business.
	if _, err := injector.Inject(
		intent.Namespace{Name: "demo"}, onPorts(8443, 8000, corev1.Sysctl{Name: portStart, Value: "1024"}),
	); err != nil {
		t.Error(err)
	}
}

// What our API version does not know of a security context stays.
func TestPatchOfSysctls(t *testing.T) {
	const ours = `{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}`
	for before, want := range map[string]string{
		`null`:                       `{"sysctls": [` + ours + `]}`,
		`{}`:                         `{"sysctls": [` + ours + `]}`,
		`{"newer": 1, "fsGroup": 2}`: `{"newer": 1, "fsGroup": 2, "sysctls": [` + ours + `]}`,
		`{"sysctls": [{"name": "a", "value": "b", "newer": 3}]}`: `{"sysctls": [{"name": "a", "value": "b", "newer": 3}, ` +
			ours + `]}`,
	} {
		injected := injectRaw(t, intent.Namespace{Name: "demo"}, `{"metadata": {"labels": {"spiffe.io/inject": "enabled"},
			"annotations": {"spiffe.io/inbound": "[{listen: 443, app: 8080, peers: [/web]}]"}},
			"spec": {"securityContext": `+before+`, "containers": [{"name": "app"}]}}`)
		got := decode(t, injected)["spec"].(map[string]any)["securityContext"]
		if diff := cmp.Diff(any(decode(t, []byte(want))), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", before, diff)
		}
	}
}
