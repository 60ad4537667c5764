package golden

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/networkpolicies"
)

// workloadPolicies is what the injector's manifests add for NetworkPolicies.
const workloadPolicies = "../../manifests/injector/components/workload-network-policies"

// withNetworkPolicies gives the injector the rights that its component gives, and has it held to what it may do with
// them. The clients are the injector's and an administrator's.
func (s *apiServer) withNetworkPolicies(t *testing.T) (own, admin client.Client) {
	t.Helper()
	own = s.asInjector(t)
	admin, err := client.New(s.config, client.Options{Scheme: clientgoscheme.Scheme})
	must(t, err)
	if err := own.List(t.Context(), &networkingv1.NetworkPolicyList{}); !apierrors.IsForbidden(err) {
		t.Errorf("without the component: expected no rights, got %v", err)
	}
	for _, file := range []string{"policy.yaml", "rbac.yaml"} {
		data, err := os.ReadFile(filepath.Join(workloadPolicies, file))
		must(t, err)
		for _, document := range bytes.Split(data, []byte("\n---\n")) {
			must(t, s.Create(t.Context(), decoded(t, document)))
		}
	}
	foreign := &networkingv1.NetworkPolicy{}
	foreign.Namespace, foreign.Name = "closed", "foreign"
	// One policy is about what is written, and another one about where.
	for _, denied := range []*networkingv1.NetworkPolicy{foreign, keptPolicy("kube-system")} {
		s.eventually(t, "the policies for the injector's NetworkPolicies", func() error {
			return wantDenial(own.Create(t.Context(), denied.DeepCopy(), client.DryRunAll))
		})
	}
	return own, admin
}

// keptPolicy is one that the injector may write where it serves.
func keptPolicy(namespace string) *networkingv1.NetworkPolicy {
	policy := networkpolicies.Policy{Identity: strings.Repeat("a", 26), Ports: []uint16{8443, 15021}}.Object(namespace)
	policy.Labels = networkpolicies.Labels("spire-injector")
	return policy
}

// wantDenial is nil for the denial of a policy of the API server's.
func wantDenial(err error) error {
	if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'spire-injector-network-policies") {
		return fmt.Errorf("expected the policy to deny it, got %w", err)
	}
	return nil
}

// The injector may write the policies that it keeps, and no others.
func testNetworkPolicyRights(t *testing.T, s *apiServer) {
	s.prepare(t, intent.Namespace{Name: "closed"}, "closed")
	s.prepare(t, intent.Namespace{Name: "not-closed", Labels: map[string]string{"injector.spiffe.io/release": "another"}}, "others")
	own, admin := s.withNetworkPolicies(t)
	there := keptPolicy("closed")
	must(t, own.Create(t.Context(), there))
	changes := map[string]func(*networkingv1.NetworkPolicy){
		"another name":        func(p *networkingv1.NetworkPolicy) { p.Name = "spire-injector-" + strings.Repeat("b", 26) },
		"no label":            func(p *networkingv1.NetworkPolicy) { p.Labels = nil },
		"of another injector": func(p *networkingv1.NetworkPolicy) { p.Labels["app.kubernetes.io/instance"] = "another" },
		"a finalizer":         func(p *networkingv1.NetworkPolicy) { p.Finalizers = []string{"example.org/f"} },
		"for outgoing":        func(p *networkingv1.NetworkPolicy) { p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, "Egress") },
		"for callers": func(p *networkingv1.NetworkPolicy) {
			p.Spec.Ingress[0].From = []networkingv1.NetworkPolicyPeer{{PodSelector: &p.Spec.PodSelector}}
		},
		"all ports":               func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress[0].Ports = nil },
		"all ports of a protocol": func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress[0].Ports[0].Port = nil },
		"a rule more": func(p *networkingv1.NetworkPolicy) {
			p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{})
		},
		"no rule":                  func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress = nil },
		"a range":                  func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress[0].Ports[0].EndPort = new(int32(9000)) },
		"a port's name":            func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress[0].Ports[0].Port = new(intstr.FromString("mtls")) },
		"UDP":                      func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress[0].Ports[0].Protocol = new(corev1.ProtocolUDP) },
		"all pods":                 func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = nil },
		"other pods":               func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = map[string]string{"app": "db"} },
		"pods of other labels too": func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels["app"] = "db" },
	}
	for what, change := range changes {
		policy := keptPolicy("closed")
		change(policy)
		if err := wantDenial(own.Create(t.Context(), policy, client.DryRunAll)); err != nil {
			t.Errorf("making %s: %v", what, err)
		}
		changed := there.DeepCopy()
		if change(changed); changed.Name != there.Name {
			continue
		}
		if err := wantDenial(own.Update(t.Context(), changed, client.DryRunAll)); err != nil {
			t.Errorf("changing to %s: %v", what, err)
		}
	}
	for _, namespace := range []string{"not-closed", "kube-system"} {
		policy := keptPolicy(namespace)
		if err := wantDenial(own.Create(t.Context(), policy.DeepCopy())); err != nil {
			t.Errorf("making one in namespace %s: %v", namespace, err)
		}
		// What was there before the namespace was another's goes.
		must(t, admin.Create(t.Context(), policy))
		changed := policy.DeepCopy()
		changed.Spec.Ingress[0].Ports = changed.Spec.Ingress[0].Ports[:1]
		if err := wantDenial(own.Update(t.Context(), changed)); err != nil {
			t.Errorf("changing one in namespace %s: %v", namespace, err)
		}
		must(t, own.Delete(t.Context(), policy))
	}
	foreign := keptPolicy("closed")
	foreign.Name, foreign.Labels = "foreign", nil
	must(t, admin.Create(t.Context(), foreign))
	taken := foreign.DeepCopy()
	taken.Labels = networkpolicies.Labels("spire-injector")
	if err := wantDenial(own.Update(t.Context(), taken)); err != nil {
		t.Errorf("taking over one of others: %v", err)
	}
	if err := wantDenial(own.Delete(t.Context(), foreign.DeepCopy())); err != nil {
		t.Errorf("removing one of others: %v", err)
	}
	must(t, admin.Delete(t.Context(), foreign))
	narrower := there.DeepCopy()
	narrower.Spec.Ingress[0].Ports = narrower.Spec.Ingress[0].Ports[:1]
	must(t, own.Update(t.Context(), narrower))
	must(t, own.Delete(t.Context(), narrower))
}

// isolation is the leading replica's controller at work, with the injector's rights.
type isolation struct {
	platform atomic.Pointer[intent.Platform]
	told     chan string
	*networkpolicies.Controller
}

func (s *apiServer) isolate(t *testing.T, platform intent.Platform) *isolation {
	t.Helper()
	config := rest.CopyConfig(s.config)
	config.Impersonate = injectorItself
	injected, err := labels.Parse(intent.LabelIdentity)
	must(t, err)
	trim := func(object any) (any, error) { return inject.Trim(object.(*corev1.Pod)), nil }
	cached, err := cache.New(config, cache.Options{
		Scheme: clientgoscheme.Scheme,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {Label: injected, Transform: networkpolicies.KeepPorts(trim)},
			&admissionregistrationv1.MutatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", "spire-injector")},
		},
	})
	must(t, err)
	own, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme})
	must(t, err)
	metrics, err := networkpolicies.NewMetrics(prometheus.NewRegistry())
	must(t, err)
	serves := webhook.ServedBy(own, "spire-injector")
	i := &isolation{told: make(chan string, 100)}
	i.platform.Store(&platform)
	i.Controller = networkpolicies.New(networkpolicies.Config{
		Platform: func() intent.Platform { return *i.platform.Load() },
		Injector: "spire-injector",
		Cache:    cached,
		Policies: func() (cache.Cache, error) {
			return cache.New(config, cache.Options{Scheme: clientgoscheme.Scheme, ByObject: networkpolicies.Watched("spire-injector")})
		},
		Direct:  own,
		Writer:  own,
		Served:  func(ctx context.Context) (func(map[string]string) bool, error) { return serves(ctx) },
		Metrics: metrics,
		Logger:  logr.Discard(),
		Event: func(about runtime.Object, why reason.Reason, _ string) {
			name := "the platform"
			if object, ok := about.(client.Object); ok {
				name = object.GetName()
			}
			i.told <- why.String() + " " + name
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = cached.Start(ctx) })
	running.Go(func() { _ = i.Start(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return i
}

func (i *isolation) hear(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-i.told:
		if got != want {
			t.Errorf("expected the event %q, got %q", want, got)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("there is no event %q", want)
	}
}

// Policies follow from pods, from what these and their namespace list, and from the platform; nobody else's are touched.
func testNetworkPolicies(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	s.prepare(t, intent.Namespace{Name: "closed"}, "closed")
	admin, err := client.New(s.config, client.Options{Scheme: clientgoscheme.Scheme})
	must(t, err)
	run := func(name, annotations string) *corev1.Pod {
		t.Helper()
		created, err := s.create(t, []byte(`{apiVersion: v1, kind: Pod, metadata: {name: `+name+`, namespace: closed,
			labels: {spiffe.io/inject: enabled}, annotations: {`+annotations+`}}, spec: {containers: [{name: app, image: app}]}}`))
		must(t, err)
		pod := decodedPod(created)
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
		return pod
	}
	gone := func(pod *corev1.Pod) {
		t.Helper()
		must(t, admin.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	}
	annotate := func(object client.Object, value string) {
		t.Helper()
		patch := `{"metadata": {"annotations": {"spiffe.io/plain-ports": ` + value + `}}}`
		must(t, admin.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch))))
	}
	name := func(pod *corev1.Pod) string { return networkpolicies.NamePrefix + pod.Labels[intent.LabelIdentity] }
	const server = `spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /ns/closed/web`
	// await waits for policies of the namespace, as "NAME PORT …" in order.
	await := func(what string, want ...string) {
		t.Helper()
		slices.Sort(want)
		s.eventually(t, what, func() error {
			var list networkingv1.NetworkPolicyList
			if err := admin.List(t.Context(), &list, client.InNamespace("closed")); err != nil {
				return err
			}
			var got []string
			for _, policy := range list.Items {
				text := policy.Name
				for _, rule := range policy.Spec.Ingress {
					for _, port := range rule.Ports {
						text += " " + port.Port.String()
					}
				}
				got = append(got, text)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("expected %q, got %q", want, got)
			}
			return nil
		})
	}
	api, web := run("api", server), run("web", `spiffe.io/spiffe-id: /ns/closed/web, spiffe.io/mode: socket`)
	asking := platform
	asking.NetworkPolicies = true
	i := s.isolate(t, platform)
	set := func(p intent.Platform) {
		i.platform.Store(&p)
		i.PlatformChanged()
	}
	await("nothing is asked for")
	set(asking)
	await("one for the pod with an Envoy", name(api)+" 8443 15021")

	annotate(api, `"9100"`)
	await("a plain port of the pod", name(api)+" 8443 9100 15021")
	annotate(api, "null")
	ns := &corev1.Namespace{}
	ns.Name = "closed"
	annotate(ns, `"9200"`)
	await("a plain port of the namespace", name(api)+" 8443 9200 15021")
	annotate(ns, "null")
	second := run("second", `spiffe.io/inbound: "[{listen: 9443, app: 8080, peers: [/ns/closed/web]}]"`)
	await("what a second pod opens", name(api)+" 8443 9443 15021")
	gone(second)
	await("the second pod is gone", name(api)+" 8443 15021")

	policy := &networkingv1.NetworkPolicy{}
	policy.Namespace, policy.Name = "closed", name(api)
	open := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"ingress": [{}]}}`))
	must(t, admin.Patch(t.Context(), policy, open))
	await("somebody has opened it", name(api)+" 8443 15021")
	must(t, admin.Delete(t.Context(), policy))
	await("somebody has removed it", name(api)+" 8443 15021")

	gone(web)
	foreign := networkpolicies.Policy{Identity: web.Labels[intent.LabelIdentity], Ports: []uint16{1}}.Object("closed")
	must(t, admin.Create(t.Context(), foreign))
	web = run("web", `spiffe.io/spiffe-id: /ns/closed/web, `+server)
	i.hear(t, "NetworkPolicyInTheWay "+name(web))
	await("one of others stays as it is", name(api)+" 8443 15021", name(web)+" 1")
	must(t, admin.Delete(t.Context(), foreign))
	await("the other one is gone", name(api)+" 8443 15021", name(web)+" 8443 15021")
	for len(i.told) > 0 { // it may have been tried more than once
		i.hear(t, "NetworkPolicyInTheWay "+name(web))
	}
	beside := run("beside", `spiffe.io/spiffe-id: /ns/closed/web, spiffe.io/mode: socket`)
	await("a pod without Envoy has the same identity", name(api)+" 8443 15021")
	i.hear(t, "NetworkPolicyLeftOut beside")
	gone(beside)
	await("it is gone", name(api)+" 8443 15021", name(web)+" 8443 15021")

	gone(web)
	await("the last pod is gone", name(api)+" 8443 15021")
	set(platform)
	await("nothing is asked for any more")
	set(asking)
	await("it is asked for again", name(api)+" 8443 15021")
	s.prepare(t, intent.Namespace{Name: "closed", Labels: map[string]string{"injector.spiffe.io/release": "another"}}, "moved")
	await("the namespace is another injector's")
	s.prepare(t, intent.Namespace{Name: "closed"}, "closed")
	await("the namespace is ours again", name(api)+" 8443 15021")
	gone(api)
	await("no pod is left")
	select {
	case told := <-i.told:
		t.Errorf("expected no more events, got %q", told)
	default:
	}
}
