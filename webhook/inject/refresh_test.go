package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// follower is a pod that leaves to its namespace who may call, and what it calls.
func follower() *corev1.Pod {
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	delete(pod.Annotations, intent.AnnotationUpstreams)
	return pod
}

func in(annotations map[string]string) intent.Namespace {
	return intent.Namespace{Name: "demo", Annotations: annotations}
}

func TestRefresh(t *testing.T) {
	const upstream = `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`
	first := map[string]string{intent.AnnotationAllowedPeers: "/web", intent.AnnotationUpstreams: upstream}
	with := func(key, value string) map[string]string {
		return map[string]string{intent.AnnotationAllowedPeers: "/web", intent.AnnotationUpstreams: upstream, key: value}
	}
	tests := []struct {
		name     string
		ns       map[string]string
		platform func(*intent.Platform)
		pod      func(*corev1.Pod)
		outdated bool
		image    string
		newPod   string // part of the reason
		refused  string // part of the refusal
	}{
		{name: "nothing new", ns: first},
		{name: "peers of the namespace", ns: with(intent.AnnotationAllowedPeers, "/other"), outdated: true},
		{name: "peers of the namespace, and the pod has its own", ns: with(intent.AnnotationAllowedPeers, "/other"),
			pod: func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/web" }},
		{
			name:     "expected server",
			ns:       with(intent.AnnotationUpstreams, strings.Replace(upstream, "/db", "/other", 1)),
			outdated: true,
		},
		{name: "enforcement", ns: with(intent.AnnotationEnforcement, "audit"), outdated: true},
		{name: "drain of the platform", ns: first, platform: func(p *intent.Platform) { p.Drain *= 2 }, outdated: true},
		{name: "what only a bootstrap says", ns: first, platform: func(p *intent.Platform) { p.AgentSocket.File = "moved" }},
		{name: "image of the platform", ns: first, platform: func(p *intent.Platform) { p.Sidecar.Image = "newer" }},
		{
			name:     "image of the platform, in place",
			ns:       first,
			platform: func(p *intent.Platform) { p.Sidecar.Image, p.InPlace = "newer", true },
			outdated: true,
			image:    "newer",
		},
		{name: "in place, and nothing new", ns: first, platform: func(p *intent.Platform) { p.InPlace = true }},
		{
			name:     "image of the namespace, in place",
			ns:       with(intent.AnnotationProxyImage, "theirs"),
			platform: func(p *intent.Platform) { p.InPlace = true },
			outdated: true,
			image:    "theirs",
		},
		{
			name:   "upstream port",
			ns:     with(intent.AnnotationUpstreams, strings.Replace(upstream, "8000", "8001", 1)),
			newPod: "ports: the namespace or the platform file add, remove or move a port",
		},
		{
			name:     "inbound port of the platform",
			ns:       first,
			platform: func(p *intent.Platform) { p.InboundPort = 9443 },
			newPod:   "ports: ",
		},
		{name: "identity", ns: first, pod: func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationSPIFFEID) },
			newPod: "identity: was spiffe://example.org/api and would be spiffe://example.org/ns/demo/sa/default"},
		{
			name:   "mode",
			ns:     with(intent.AnnotationMode, "sidecar,socket"),
			newPod: "mode: was sidecar and would be sidecar,socket",
		},
		{
			name:   "mode without Envoy",
			ns:     map[string]string{intent.AnnotationMode: "socket"},
			pod:    func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationAppPort) },
			newPod: "mode: was sidecar and would be socket",
		},
		{
			name:    "mistake in the namespace",
			ns:      with(intent.AnnotationAllowedPeers, "web"),
			refused: `annotation spiffe.io/allowed-peers of namespace demo: peer "web"`,
		},
		{
			name:     "claim withdrawn",
			ns:       first,
			platform: func(p *intent.Platform) { p.Claims = nil },
			refused:  intent.AnnotationSPIFFEID,
		},
		{name: "never injected", ns: first, pod: func(p *corev1.Pod) { *p = *follower() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			injector := Injector{Platform: webhooktest.Platform(t), Version: "old"}
			res, err := injector.Inject(in(first), follower())
			if err != nil {
				t.Fatal(err)
			}
			pod := res.Pod
			if test.pod != nil {
				test.pod(pod)
			}
			injector.Version = "new" // of which the pod knows nothing
			if test.platform != nil {
				test.platform(&injector.Platform)
			}
			got, err := injector.Refresh(in(test.ns), pod)
			if test.refused != "" {
				wantRefusal(t, err, reason.Invalid, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			why := ""
			for _, m := range got.NewPod {
				why += m.String()
			}
			if got.Outdated != test.outdated || got.Image != test.image || !strings.Contains(why, test.newPod) ||
				(why == "") != (test.newPod == "") {
				t.Errorf("expected outdated=%t, image %q and %q, got %+v", test.outdated, test.image, test.newPod, got)
			}
			asked := pod.DeepCopy()
			asked.Annotations[intent.AnnotationRefresh] = "by hand"
			updated, err := injector.Update(in(test.ns), pod, asked)
			switch {
			case test.newPod != "":
				wantRefusal(t, err, reason.NeedsNewPod, test.newPod)
			case err != nil:
				t.Fatal(err)
			case test.outdated && ConfigDigest(updated.Pod) != got.Wanted:
				t.Error("asking for a refresh gives another configuration than is wanted")
			case !test.outdated && ConfigDigest(updated.Pod) != ConfigDigest(pod):
				t.Error("asking for a refresh changes what is not outdated")
			case test.newPod == "" && err == nil && updated.Inject:
				again, err := injector.Refresh(in(test.ns), updated.Pod)
				if err != nil || again.Outdated {
					t.Errorf("expected nothing outdated after the refresh, got %+v, %v", again, err)
				}
				if _, err := injector.ValidateUpdate(in(test.ns), pod, updated.Pod); err != nil {
					t.Errorf("the refreshed pod is not valid: %v", err)
				}
			}
		})
	}
}

// What is written to bring a refresh about differs from what is there, or nobody would notice.
func TestRefreshValueDiffers(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	res, err := injector.Inject(in(map[string]string{intent.AnnotationAllowedPeers: "/web"}), follower())
	if err != nil {
		t.Fatal(err)
	}
	other := in(map[string]string{intent.AnnotationAllowedPeers: "/other"})
	for range 3 {
		got, err := injector.Refresh(other, res.Pod)
		if err != nil || !got.Outdated || got.Value == res.Pod.Annotations[intent.AnnotationRefresh] ||
			!strings.HasPrefix(got.Value, got.Wanted) {
			t.Errorf("expected another value than %q, got %+v, %v", res.Pod.Annotations[intent.AnnotationRefresh], got, err)
		}
		res.Pod.Annotations[intent.AnnotationRefresh] = got.Value
	}
}

// A refresh changes the image only where the platform says so, and nobody brings his own along.
func TestRefreshAndImages(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	before := running(t, injector)
	injector.Platform.Sidecar.Image = "newer"
	change := func(image string, refresh bool) *corev1.Pod {
		after := before.DeepCopy()
		after.Spec.InitContainers[0].Image = image
		if refresh {
			after.Annotations[intent.AnnotationRefresh] = "1"
		}
		return after
	}
	update := func(after *corev1.Pod) (*corev1.Pod, error) {
		res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
		if err != nil {
			return nil, err
		}
		return res.Pod, nil
	}
	if pod, err := update(change("envoy", true)); err != nil || envoyImage(pod) != "envoy" {
		t.Errorf("new pods only: expected the old image, got %v", err)
	}
	_, err := update(change("newer", true))
	wantRefusal(t, err, reason.NeedsNewPod, "container envoy, image")

	injector.Platform.InPlace = true
	pod, err := update(change("envoy", true))
	if err != nil || envoyImage(pod) != "newer" || pod.Spec.Containers[0].Image != "app" {
		t.Fatalf("in place: expected the new image of the sidecar alone, got %v", err)
	}
	if _, err := injector.ValidateUpdate(intent.Namespace{Name: "demo"}, before, pod); err != nil {
		t.Error(err)
	}
	for _, after := range []*corev1.Pod{change("newer", false), change("mine", false)} {
		_, err := update(after)
		wantRefusal(t, err, reason.NeedsNewPod, "container envoy, image")
		_, err = injector.ValidateUpdate(intent.Namespace{Name: "demo"}, before, after)
		wantRefusal(t, err, reason.NeedsNewPod, "container envoy, image")
	}
	for _, image := range []string{"mine", "envoy"} { // the second is the old one, kept by somebody after our webhook
		_, err = injector.ValidateUpdate(intent.Namespace{Name: "demo"}, before, change(image, true))
		wantRefusal(t, err, reason.Tampered, "")
	}
	_, err = update(change("mine", true))
	wantRefusal(t, err, reason.Tampered, "container envoy, image: is written by the webhook alone")
}

// A webhook is called again for a change when another one changed something after it.
func TestUpdateAgain(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	before := running(t, injector)
	after := before.DeepCopy()
	after.Annotations[intent.AnnotationAllowedPeers] = "/other"
	res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
	if err != nil {
		t.Fatal(err)
	}
	second := res.Pod.DeepCopy()
	second.Labels["other.io/x"] = "y"
	res, err = injector.Update(intent.Namespace{Name: "demo"}, before, second)
	if err != nil {
		t.Fatal(err)
	}
	if ops := Patch(second, res.Pod); len(ops) > 0 {
		t.Errorf("expected nothing more to change, got %v", ops)
	}
	second.Annotations[intent.AnnotationListeners] = "{}"
	_, err = injector.Update(intent.Namespace{Name: "demo"}, before, second)
	wantRefusal(t, err, reason.Tampered, intent.AnnotationListeners)
}

// A pod without Envoy has nothing to refresh, and takes the changes that it always took.
func TestRefreshWithoutEnvoy(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	pod := &corev1.Pod{Spec: webhooktest.Server().Spec}
	pod.Labels = map[string]string{intent.LabelInject: intent.InjectEnabled}
	pod.Annotations = map[string]string{intent.AnnotationMode: intent.ModeSocket.String()}
	res, err := injector.Inject(in(nil), pod)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := injector.Refresh(in(nil), res.Pod); err != nil || got.Outdated || got.Wanted != "" {
		t.Errorf("expected nothing to refresh, got %+v, %v", got, err)
	}
	for key, value := range map[string]string{
		intent.AnnotationRefresh: "1", intent.AnnotationFederatesWith: "auxiliary.org",
	} {
		after := res.Pod.DeepCopy()
		after.Annotations[key] = value
		if _, err := injector.Update(in(nil), res.Pod, after); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A refresh is done when the pod has both the configuration and the image that are wanted.
func TestRefreshIsDone(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	pod := running(t, injector)
	digest := ConfigDigest(pod)
	for _, test := range []struct {
		name string
		want Refresh
		done bool
	}{
		{"nothing else", Refresh{Wanted: digest}, true},
		{"the image that it has", Refresh{Wanted: digest, Image: "envoy"}, true},
		{"another image", Refresh{Wanted: digest, Image: "newer"}, false},
		{"another configuration", Refresh{Wanted: "x"}, false},
		{"another configuration with the image", Refresh{Wanted: "x", Image: "envoy"}, false},
	} {
		if got := test.want.Done(pod); got != test.done {
			t.Errorf("%s: expected %t, got %t", test.name, test.done, got)
		}
	}
}
