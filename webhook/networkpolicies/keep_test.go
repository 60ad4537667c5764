package networkpolicies

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// What counts of a pod is the same for a pod as the API server has it and as the cache keeps it.
func TestPodOf(t *testing.T) {
	platform := webhooktest.Platform(t)
	ns := intent.Namespace{Name: "demo"}
	listing := func(ports string) intent.Namespace {
		return intent.Namespace{Name: "demo", Annotations: map[string]string{intent.AnnotationPlainPorts: ports}}
	}
	for _, test := range []struct {
		name   string
		ns     intent.Namespace
		before func(*corev1.Pod) // injection
		after  func(*corev1.Pod)
		want   []uint16
		envoy  bool
	}{
		{name: "a server", ns: ns, want: []uint16{8443, 15021}, envoy: true},
		{name: "no Envoy", ns: ns, before: func(p *corev1.Pod) {
			p.Annotations = map[string]string{intent.AnnotationSPIFFEID: "/api", intent.AnnotationMode: "socket"}
		}},
		{name: "plain ports of its own", ns: ns, before: func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationPlainPorts] = "9100 9090"
		}, want: []uint16{8443, 15021, 9100, 9090}, envoy: true},
		{name: "plain ports of its namespace", ns: listing("9100"), want: []uint16{8443, 15021, 9100}, envoy: true},
		{name: "plain ports that are none", ns: ns, after: func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationPlainPorts] = "9100 http"
		}, want: []uint16{8443, 15021}, envoy: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := webhooktest.Server()
			if test.before != nil {
				test.before(pod)
			}
			res, err := inject.Injector{Platform: platform, Version: "test"}.Inject(test.ns, pod)
			if err != nil {
				t.Fatal(err)
			}
			if test.after != nil {
				test.after(res.Pod)
			}
			keep := KeepPorts(func(o any) (any, error) { return inject.Trim(o.(*corev1.Pod)), nil })
			once, err := keep(res.Pod)
			if err != nil {
				t.Fatal(err)
			}
			twice, err := keep(once)
			if err != nil {
				t.Fatal(err)
			}
			for what, pod := range map[string]*corev1.Pod{"whole": res.Pod, "kept": once.(*corev1.Pod), "kept twice": twice.(*corev1.Pod)} {
				got, counts := PodOf(platform, test.ns, pod)
				if !counts || got.Identity != res.Pod.Labels[intent.LabelIdentity] || got.Envoy != test.envoy || !slices.Equal(got.Ports, test.want) {
					t.Errorf("%s: expected %v, %t, got %+v, %t", what, test.want, test.envoy, got, counts)
				}
			}
			ended := once.(*corev1.Pod).DeepCopy()
			ended.Status.Phase = corev1.PodSucceeded
			if _, counts := PodOf(platform, test.ns, ended); counts || alike(once, ended) {
				t.Error("a pod that has ended counts")
			}
		})
	}
}

// Most changes of a pod are none of ours.
func TestAlike(t *testing.T) {
	before := &corev1.Pod{}
	before.UID, before.Labels = "1", map[string]string{intent.LabelIdentity: idA}
	before.Annotations = map[string]string{keptPorts: "8443", intent.AnnotationAllowedPeers: "/web"}
	for what, test := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"its status": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }, true},
		"its peers":  {func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/db" }, true},
		"its ports":  {func(p *corev1.Pod) { p.Annotations[intent.AnnotationPlainPorts] = "9090" }, false},
		"its end":    {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"another":    {func(p *corev1.Pod) { p.UID = "2" }, false},
	} {
		after := before.DeepCopy()
		test.change(after)
		if got := alike(before, after); got != test.want {
			t.Errorf("%s: alike is %t", what, got)
		}
	}
}
