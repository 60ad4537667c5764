package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func requiring(name string) intent.Namespace {
	return intent.Namespace{Name: name, Labels: map[string]string{intent.LabelInject: intent.InjectRequired}}
}

// permissive is a pod that takes plain text for the time of a migration.
func permissive() *corev1.Pod {
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	pod.Annotations[intent.AnnotationInbound] = "[{listen: 8443, app: 8080, tls: permissive}]"
	return pod
}

// A pod brought along is held to what its namespace requires as one that is not injected yet.
func TestRequiredOfReadyMadePods(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, permissive())
	if err != nil {
		t.Fatal(err)
	}
	const want = "annotation spiffe.io/inbound[0].tls: namespace demo requires mutual TLS"
	_, err = injector.Inject(requiring("demo"), res.Pod)
	wantRefusal(t, err, reason.Invalid, want)
	_, err = injector.Validate(requiring("demo"), res.Pod)
	wantRefusal(t, err, reason.Invalid, want)

	injector.Platform.AllowedExceptions = []intent.Exception{intent.ExceptionPermissive}
	for name, decide := range map[string]func(intent.Namespace, *corev1.Pod) (Result, error){
		"injecting": injector.Inject, "validating": injector.Validate,
	} {
		if _, err := decide(requiring("demo"), res.Pod); err != nil {
			t.Errorf("%s what the platform allows: %v", name, err)
		}
	}
}

// A running pod begins nothing that its namespace does not take. One that was admitted with it takes other changes, and
// follows its namespace and the platform.
func TestRequiredOfRunningPods(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	injected := func(pod *corev1.Pod) *corev1.Pod {
		t.Helper()
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatal(err)
		}
		return res.Pod
	}
	changed := func(pod *corev1.Pod, key, value string) *corev1.Pod {
		out := pod.DeepCopy()
		out.Annotations[key] = value
		return out
	}
	mutual := permissive()
	mutual.Annotations[intent.AnnotationInbound] = "[{listen: 8443, app: 8080}]"
	before := injected(mutual)
	after := changed(before, intent.AnnotationInbound, permissive().Annotations[intent.AnnotationInbound])
	if _, err := injector.Update(intent.Namespace{Name: "demo"}, before, after); err != nil {
		t.Errorf("where nothing is required: %v", err)
	}
	_, err := injector.Update(requiring("demo"), before, after)
	wantRefusal(t, err, reason.Invalid, "annotation spiffe.io/inbound[0].tls: namespace demo requires mutual TLS")

	before = injected(permissive())
	after = changed(before, intent.AnnotationAllowedPeers, "/other")
	res, err := injector.Update(requiring("demo"), before, after)
	if err != nil || res.Reason != reason.Regenerated {
		t.Errorf("another peer of a pod that was admitted so: %s, %v", res.Reason, err)
	}
	if _, err := injector.Refresh(requiring("demo"), before); err != nil {
		t.Errorf("following the platform: %v", err)
	}
}

// A template whose pods would be denied needs no identity.
func TestRequiredOfTemplates(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	if needs := injector.NeedsOfTemplate(intent.Namespace{Name: "demo"}, permissive()); len(needs.Workloads) != 1 {
		t.Errorf("where nothing is required: expected one identity, got %v", needs.Workloads)
	}
	if needs := injector.NeedsOfTemplate(requiring("demo"), permissive()); len(needs.Workloads) > 0 {
		t.Errorf("expected no identity of pods that are denied, got %v", needs.Workloads)
	}
}

// Its author learns what a pod is admitted with, once.
func TestWarnings(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	pod := permissive()
	pod.Spec.ShareProcessNamespace = new(true)
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	const want = "spec.shareProcessNamespace: a container of the pod with Envoy's user, or with the capability SYS_PTRACE, " +
		"can read Envoy's key; remove it"
	if len(res.Warnings) != 1 || res.Warnings[0] != want {
		t.Errorf("expected the warning %q, got %q", want, res.Warnings)
	}
	if res, err := injector.Inject(intent.Namespace{Name: "demo"}, res.Pod); err != nil || len(res.Warnings) > 0 {
		t.Errorf("asked again: expected no warning, got %q, %v", res.Warnings, err)
	}
}
