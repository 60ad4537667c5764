package inject

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func capturing(t *testing.T) Injector {
	t.Helper()
	i := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	i.Platform.Sidecar.Capture.Image = "injector"
	return i
}

// captured lets a pod leave to its declared ports what is captured.
func captured(pod *corev1.Pod) {
	delete(pod.Annotations, intent.AnnotationAppPort)
	pod.Annotations[intent.AnnotationCapture] = "inbound"
	pod.Annotations[intent.AnnotationAllowedPeers] = "/web"
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 5432}}
}

// TestCapturedPodChanges: who may call follows, and where the rules lead to does not.
func TestCapturedPodChanges(t *testing.T) {
	i := capturing(t)
	const list = "[{app: 8080, peers: [/web]}, {app: 5432, protocol: tcp, peers: [/web]}]"
	pod, _ := injectedServer(t, i, captured, func(p *corev1.Pod) {
		delete(p.Annotations, intent.AnnotationAllowedPeers)
		p.Annotations[intent.AnnotationInbound] = list
	})
	want := []string{"15025:15021", "5432:15301", "8080:15300"}
	if got := slices.Sorted(slices.Values(StatusOf(pod).Envoy.Redirects)); !slices.Equal(got, want) {
		t.Fatalf("redirects %q", got)
	}
	const others = "[{app: 8080, peers: [/other]}, {app: 5432, protocol: tcp, peers: [/db]}]"
	wantUpdate(t, i, pod, intent.AnnotationInbound, others, "")
	const swapped = "[{app: 8080, listen: 15301, peers: [/web]}, {app: 5432, listen: 15300, protocol: tcp, peers: [/web]}]"
	wantUpdate(t, i, pod, intent.AnnotationInbound, swapped, "annotation spiffe.io/inbound: ")
	const moved = "[{app: 8080, listen: 8443, peers: [/web]}, {app: 5432, protocol: tcp, peers: [/web]}]"
	wantUpdate(t, i, pod, intent.AnnotationInbound, moved, "adds, removes or moves a port")
	wantUpdate(t, i, pod, intent.AnnotationCapture, "none", "annotation spiffe.io/capture")
	other := pod.DeepCopy()
	other.Spec.InitContainers[0].Image = "other"
	_, err := i.Update(in(nil), pod, other)
	wantRefusal(t, err, reason.NeedsNewPod, "container spiffe-capture, image")
}

// TestCaptureOfTheNamespaceNeedsNewPods: a running pod has its rules, or none.
func TestCaptureOfTheNamespaceNeedsNewPods(t *testing.T) {
	i := capturing(t)
	both := in(map[string]string{intent.AnnotationCapture: "inbound"})
	base := webhooktest.Server()
	base.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	for _, began := range []intent.Namespace{in(nil), both} {
		res, err := i.Inject(began, base)
		if err != nil {
			t.Fatal(err)
		}
		for _, today := range []intent.Namespace{in(nil), both} {
			r, err := i.Refresh(today, res.Pod)
			if err != nil {
				t.Fatal(err)
			}
			same := len(began.Annotations) == len(today.Annotations)
			if r.Outdated || same != (len(r.NewPod) == 0) ||
				!same && !strings.HasPrefix(r.NewPod[0].String(), "capture: was ") {
				t.Errorf("from %v to %v: %+v", began.Annotations, today.Annotations, r)
			}
		}
	}
}

// TestRulesOfARunningPodStay: the same ports, of which callers of one would be led to the other's listener.
func TestRulesOfARunningPodStay(t *testing.T) {
	i := capturing(t)
	with := func(first, second int) intent.Namespace {
		return in(map[string]string{intent.AnnotationInbound: fmt.Sprintf(
			"[{app: 8080, listen: %d, peers: [/web]}, {app: 5432, listen: %d, peers: [/db]}]", first, second)})
	}
	base := webhooktest.Server()
	captured(base)
	delete(base.Annotations, intent.AnnotationAllowedPeers)
	res, err := i.Inject(with(8443, 8444), base)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := i.Refresh(with(8443, 8444), res.Pod); err != nil || len(r.NewPod) > 0 {
		t.Errorf("unchanged: %+v, %v", r, err)
	}
	if r, err := i.Refresh(with(8444, 8443), res.Pod); err != nil || len(r.NewPod) != 1 {
		t.Errorf("swapped: %+v, %v", r, err)
	}
}

// TestCapturedPodUnderPodSecurity: like Pod Security, a new level is for new pods. The running ones keep their identity
// and follow their annotations.
func TestCapturedPodUnderPodSecurity(t *testing.T) {
	i := capturing(t)
	pod, workloads := injectedServer(t, i, captured)
	restricted := in(nil)
	restricted.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	after := pod.DeepCopy()
	after.Annotations[intent.AnnotationAllowedPeers] = "/other"
	if res, err := i.Update(restricted, pod, after); err != nil || res.Reason != reason.Regenerated {
		t.Errorf("got %s, %v", res.Reason, err)
	}
	needs := i.NeedsOfPod(restricted, Trim(pod))
	if diff := cmp.Diff(entriesOf(i, workloads), entriesOf(i, needs.Workloads)); diff != "" {
		t.Errorf("entries (-registered +needed):\n%s", diff)
	}
	_, err := i.Inject(restricted, Original(pod))
	wantRefusal(t, err, reason.Invalid, "enforce=restricted forbids the capability NET_ADMIN")
	template := webhooktest.Server()
	captured(template)
	if needs := i.NeedsOfTemplate(restricted, template); len(needs.Workloads) > 0 {
		t.Errorf("a template whose pods are denied needs %v", needs)
	}
}

// TestCopyOfCapturedPod: what `kubectl debug --copy-to` makes, without labels and annotations, is the app alone.
func TestCopyOfCapturedPod(t *testing.T) {
	pod, _ := injectedServer(t, capturing(t), captured)
	pod.Labels, pod.Annotations = nil, nil
	res, err := capturing(t).Inject(in(nil), pod)
	if err != nil || len(res.Pod.Spec.InitContainers) > 0 {
		t.Errorf("got %v, %v", res.Pod.Spec.InitContainers, err)
	}
}
