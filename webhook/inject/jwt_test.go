package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

const (
	jwtInbound  = `[{listen: 8443, app: 8080, peers: [/web], jwt: {subjects: [/web]}}]`
	jwtUpstream = `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db], jwt: {audience: /db}}]`
)

// withTokens is a running pod that asks for tokens and sends some.
func withTokens(t *testing.T) (Injector, *corev1.Pod) {
	t.Helper()
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	injector.Platform.Sidecar.JWT.Image = "injector"
	injector.Platform.Sidecar.Metrics.Port, injector.Platform.Sidecar.Metrics.Include = 15090, []string{"http."}
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	pod.Annotations[intent.AnnotationInbound], pod.Annotations[intent.AnnotationUpstreams] = jwtInbound, jwtUpstream
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return injector, res.Pod
}

func TestUpdateOfTokens(t *testing.T) {
	const newPod = "jwt of inbound and upstreams: " +
		"tokens were not fetched before, would not be any more, or for another audience"
	tests := []struct {
		name, inbound, upstreams string
		changed                  []string // annotations that the webhook writes again
		refused                  string
	}{
		{
			"subjects",
			`[{listen: 8443, app: 8080, peers: [/web], jwt: {subjects: [/other]}}]`,
			jwtUpstream,
			[]string{intent.AnnotationListeners, intent.AnnotationAuthorization},
			"",
		},
		{
			"audiences",
			`[{listen: 8443, app: 8080, peers: [/web], jwt: {subjects: [/web], audiences: [x]}}]`,
			jwtUpstream,
			[]string{intent.AnnotationListeners},
			"",
		},
		{"no tokens of callers", `[{listen: 8443, app: 8080, peers: [/web]}]`, jwtUpstream,
			[]string{intent.AnnotationListeners, intent.AnnotationClusters, intent.AnnotationAuthorization}, ""},
		{
			"another audience of an upstream",
			jwtInbound,
			`[{listen: 8000, address: "db.demo.svc:8443", peers: [/db], jwt: {audience: x}}]`,
			nil,
			newPod,
		},
		{"no tokens for upstreams", jwtInbound, `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`, nil, newPod},
		{
			"no tokens at all",
			`[{listen: 8443, app: 8080, peers: [/web]}]`,
			`[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`,
			nil,
			newPod,
		},
		{
			"no subjects",
			`[{listen: 8443, app: 8080, peers: [/web], jwt: {}}]`,
			jwtUpstream,
			nil,
			"expected at least one subject",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			injector, before := withTokens(t)
			after := before.DeepCopy()
			after.Annotations[intent.AnnotationInbound] = test.inbound
			after.Annotations[intent.AnnotationUpstreams] = test.upstreams
			res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
			if test.refused != "" {
				wantErrorWith(t, err, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range intent.WrittenByWebhook() {
				if is := res.Pod.Annotations[key] != before.Annotations[key]; is != slices.Contains(test.changed, key) {
					t.Errorf("%s: written again %t", key, is)
				}
			}
		})
	}
	t.Run("tokens in a pod without", func(t *testing.T) {
		injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
		injector.Platform.Sidecar.JWT.Image = "injector"
		wantUpdate(t, injector, running(t, injector), intent.AnnotationUpstreams, jwtUpstream, newPod)
	})
	t.Run("image", func(t *testing.T) {
		injector, before := withTokens(t)
		after := before.DeepCopy()
		after.Spec.InitContainers[0].Image = "mine"
		_, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
		wantRefusal(t, err, reason.NeedsNewPod, "container spiffe-jwt, image")
	})
}

// TestTokensContainerIsOurs: nobody alters it, and nobody brings one along, since an entry selects its name.
func TestTokensContainerIsOurs(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*corev1.Pod)
		refused string
	}{
		{"as injected", func(*corev1.Pod) {}, ""},
		{"image", func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "mine" }, "container spiffe-jwt"},
		{"one more argument", func(p *corev1.Pod) {
			p.Spec.InitContainers[0].Args = append(slices.Clone(p.Spec.InitContainers[0].Args), "--audience=mine")
		}, "container spiffe-jwt"},
		{"a command", func(p *corev1.Pod) { p.Spec.InitContainers[0].Command = []string{"mine"} }, "container spiffe-jwt"},
		{"taken away", func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] }, "container spiffe-jwt"},
		{"its volume", func(p *corev1.Pod) {
			i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == JWTVolume })
			p.Spec.Volumes[i].EmptyDir = nil
			p.Spec.Volumes[i].HostPath = &corev1.HostPathVolumeSource{Path: "/tmp"}
		}, "volume spiffe-jwt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			injector, pod := withTokens(t)
			test.change(pod)
			_, err := injector.Validate(intent.Namespace{Name: "demo"}, pod)
			wantErrorWith(t, err, test.refused)
		})
	}
	t.Run("brought along", func(t *testing.T) {
		injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
		pod := running(t, injector)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: intent.JWTName, Image: "mine"})
		_, err := injector.Validate(intent.Namespace{Name: "demo"}, pod)
		wantRefusal(t, err, reason.Invalid, "container spiffe-jwt: has the name of an injected container")
	})
}

// TestNeedsOfTokens: the entries of the container's name stay as long as the pod runs, also of what is kept of it in
// memory.
func TestNeedsOfTokens(t *testing.T) {
	injector, pod := withTokens(t)
	var containers []string
	for _, w := range injector.NeedsOfPod(intent.Namespace{Name: "demo"}, Trim(pod)).Workloads {
		containers = append(containers, w.Container)
	}
	if want := []string{intent.SidecarName, intent.JWTName}; !slices.Equal(containers, want) {
		t.Errorf("expected entries for %v, got %v", want, containers)
	}
}

// TestStripTakesTokensAway: also from a copy of a pod that has no status.
func TestStripTakesTokensAway(t *testing.T) {
	_, pod := withTokens(t)
	copied := pod.DeepCopy()
	copied.Labels, copied.Annotations = nil, nil
	for name, p := range map[string]*corev1.Pod{"injected": pod, "copy": copied} {
		if out := strip(p); len(out.Spec.InitContainers) > 0 || len(out.Spec.Volumes) > 0 {
			t.Errorf("%s: left %v and %v", name, out.Spec.InitContainers, out.Spec.Volumes)
		}
	}
}

// The pod has a budget for all its containers.
func TestTokensUnderThePodsOwnResources(t *testing.T) {
	injector, pod := withTokens(t)
	request := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	injector.Platform.Sidecar.JWT.Resources = corev1.ResourceRequirements{Requests: request}
	for _, own := range []*corev1.ResourceRequirements{nil, {Requests: request}} {
		asked := strip(pod)
		asked.Spec.Resources = own
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, asked)
		if err != nil {
			t.Fatal(err)
		}
		c := containerNamed(res.Pod.Spec.InitContainers, intent.JWTName)
		if got := len(c.Resources.Requests); got != 1 && own == nil || got != 0 && own != nil {
			t.Errorf("pod's own %v: the container requests %v", own, c.Resources.Requests)
		}
	}
}

// A pod that only asks callers for tokens has no audiences to tell it from one without any.
func TestUpdateThatEndsAskingForTokens(t *testing.T) {
	injector, pod := withTokens(t)
	asked := strip(pod)
	delete(asked.Annotations, intent.AnnotationUpstreams)
	before, err := injector.Inject(intent.Namespace{Name: "demo"}, asked)
	if err != nil {
		t.Fatal(err)
	}
	wantUpdate(t, injector, before.Pod, intent.AnnotationInbound, `[{listen: 8443, app: 8080, peers: [/web]}]`,
		"tokens were not fetched before, would not be any more")
}
