package inject

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// callingBy is a pod whose app calls by these upstreams.
func callingBy(upstreams string, own ...corev1.HostAlias) *corev1.Pod {
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationSPIFFEID)
	pod.Annotations[intent.AnnotationUpstreams] = upstreams
	pod.Spec.HostAliases = own
	return pod
}

func namesInjector(t *testing.T) Injector {
	return Injector{Platform: webhooktest.Platform(t).WithClusterDomain("cluster.local"), Version: "test"}
}

var shop = intent.Namespace{Name: "shop"}

func TestNamesAreAliases(t *testing.T) {
	own := corev1.HostAlias{IP: "10.0.0.7", Hostnames: []string{"printer"}}
	api := corev1.HostAlias{IP: "127.0.1.1", Hostnames: []string{"api.shop.svc.cluster.local", "api.shop.svc", "api.shop", "api"}}
	web := corev1.HostAlias{IP: "127.0.1.2", Hostnames: []string{"web.data.svc.cluster.local", "web.data.svc", "web.data"}}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want []corev1.HostAlias
	}{
		"none": {callingBy(`[{listen: 8000, address: "api.shop.svc:8443", peers: [/api]}]`, own), []corev1.HostAlias{own}},
		"one":  {callingBy(`[{listen: "api:80", peers: [/api]}]`), []corev1.HostAlias{api}},
		"several beside the pod's": {callingBy(`[{listen: "web.data:80", peers: [/web]}, {listen: "api:80", peers: [/api]},
			{listen: "api.shop.svc:90", peers: [/api]}]`, own), []corev1.HostAlias{own, api, web}},
	} {
		t.Run(name, func(t *testing.T) {
			injector := namesInjector(t)
			res, err := injector.Inject(shop, test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, res.Pod.Spec.HostAliases); diff != "" {
				t.Errorf("aliases (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.pod.Spec.HostAliases, strip(res.Pod).Spec.HostAliases, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("aliases without injection (-want +got):\n%s", diff)
			}
			if again, err := injector.Validate(shop, res.Pod); err != nil || !again.Inject {
				t.Errorf("injected again: %v", err)
			}
			copied := res.Pod.DeepCopy()
			for _, key := range intent.WrittenByWebhook() {
				delete(copied.Annotations, key)
			}
			again, err := injector.Inject(shop, copied)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(res.Pod.Spec, again.Pod.Spec); diff != "" {
				t.Errorf("a copy without status (-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever changes the aliases, or adds one that leads a name elsewhere, is found out.
func TestAliasesStayAsTheyAre(t *testing.T) {
	injector := namesInjector(t)
	res, err := injector.Inject(shop, callingBy(`[{listen: "api:80", peers: [/api]}]`))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*corev1.PodSpec){
		"removed":         func(s *corev1.PodSpec) { s.HostAliases = nil },
		"another address": func(s *corev1.PodSpec) { s.HostAliases[0].IP = "10.0.0.7" },
		"fewer names":     func(s *corev1.PodSpec) { s.HostAliases[0].Hostnames = s.HostAliases[0].Hostnames[:3] },
		"another one before": func(s *corev1.PodSpec) {
			s.HostAliases = slices.Insert(s.HostAliases, 0, corev1.HostAlias{IP: "10.0.0.7", Hostnames: []string{"API"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := res.Pod.DeepCopy()
			change(&pod.Spec)
			if _, err := injector.Validate(shop, pod); err == nil {
				t.Error("nobody finds it")
			}
		})
	}
	pod := res.Pod.DeepCopy()
	pod.Spec.HostAliases = append(pod.Spec.HostAliases, corev1.HostAlias{IP: "10.0.0.7", Hostnames: []string{"printer"}})
	if _, err := injector.Validate(shop, pod); err != nil {
		t.Errorf("an alias of another name: %v", err)
	}
}

// The aliases of a running pod stay, and so do the ports of names.
func TestNamesOfRunningPods(t *testing.T) {
	injector := namesInjector(t)
	injected, err := injector.Inject(shop, callingBy(`[{listen: "api:80", peers: [/api]}]`))
	if err != nil {
		t.Fatal(err)
	}
	change := func(upstreams string) error {
		after := injected.Pod.DeepCopy()
		after.Annotations[intent.AnnotationUpstreams] = upstreams
		_, err := injector.Update(shop, injected.Pod, after)
		return err
	}
	for _, upstreams := range []string{
		`[{listen: "api.shop:80", peers: [/api, /other]}]`, // the same name
		`[{listen: "api:80", address: "api:8443", peers: [/api], timeout: 3s}]`,
	} {
		if err := change(upstreams); err != nil {
			t.Errorf("%s: %v", upstreams, err)
		}
	}
	for _, upstreams := range []string{
		`[{listen: "web:80", peers: [/api]}]`, `[{listen: "api:81", peers: [/api]}]`, `[{listen: "api:80", peers: [/api], passthrough: [22]}]`,
		`[{listen: "api:80", peers: [/api]}, {listen: "web:80", peers: [/web]}]`,
	} {
		wantRefusal(t, change(upstreams), reason.NeedsNewPod, "calls other names, or other ports of them")
	}
	wantRefusal(t, change(`[{listen: 8000, address: "api:80", peers: [/api]}]`), reason.NeedsNewPod, "calls other names")
}

// All ports of the names of a captured pod pass through, but for one that an older version injected: it keeps its rules.
func TestRestOfNames(t *testing.T) {
	injector := namesInjector(t)
	injector.Platform.Sidecar.Capture.Image = "injector"
	const list = `[{listen: "api:80", peers: [/api], passthrough: [22, 8080]}]` // which the app declares
	pod := callingBy(list)
	captured(pod)
	res, err := injector.Inject(shop, pod)
	if err != nil {
		t.Fatal(err)
	}
	const all = "127.0.1.1:*:15501"
	if got := StatusOf(res.Pod).Envoy; !slices.Contains(got.Redirects, all) || !slices.Equal(got.Names, []string{"api.shop:80"}) {
		t.Errorf("got %q and %q", got.Redirects, got.Names)
	}
	if args := containerNamed(res.Pod.Spec.InitContainers, intent.CaptureName).Args; !slices.Contains(args, all) {
		t.Errorf("got %q", args)
	}
	older := injector
	older.listedPorts = true
	pod.Annotations[intent.AnnotationUpstreams] = `[{listen: "api:80", peers: [/api], passthrough: [22]}]`
	before, err := older.inject(shop, pod, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := StatusOf(before.Pod).Envoy; slices.Contains(got.Redirects, all) || !slices.Equal(got.Names, []string{"api.shop:80", "api.shop:22"}) {
		t.Fatalf("got %q and %q", got.Redirects, got.Names)
	}
	for name, running := range map[string]*corev1.Pod{"today's": res.Pod, "an older version's": before.Pod} {
		if _, err := injector.Validate(shop, running); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := injector.Refresh(shop, running); err != nil || r.Outdated || len(r.NewPod) > 0 {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
		after := running.DeepCopy()
		after.Annotations[intent.AnnotationAllowedPeers] = "/other"
		changed, err := injector.Update(shop, running, after)
		if err != nil || changed.Pod.Annotations[intent.AnnotationClusters] != running.Annotations[intent.AnnotationClusters] {
			t.Errorf("%s: expected a change of peers to leave what names lead to, got %v", name, err)
		}
	}
}

// A namespace's default that names something else does not reach a running pod.
func TestNamesOfNamespaces(t *testing.T) {
	injector := namesInjector(t)
	ns := intent.Namespace{Name: "shop", Annotations: map[string]string{intent.AnnotationUpstreams: `[{listen: "api:80", peers: [/api]}]`}}
	pod := callingBy("")
	delete(pod.Annotations, intent.AnnotationUpstreams)
	injected, err := injector.Inject(ns, pod)
	if err != nil {
		t.Fatal(err)
	}
	ns.Annotations = map[string]string{intent.AnnotationUpstreams: `[{listen: "web:80", peers: [/api]}]`}
	if r, err := injector.Refresh(ns, injected.Pod); err != nil || len(r.NewPod) == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}
