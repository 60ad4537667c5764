package inject

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// injectedServer is the server as it runs in namespace demo.
func injectedServer(t *testing.T, i Injector, changes ...func(*corev1.Pod)) (*corev1.Pod, []registrar.Workload) {
	t.Helper()
	pod := webhooktest.Server()
	for _, change := range changes {
		change(pod)
	}
	res, err := i.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod, res.Workloads
}

// entriesOf are the entries that needs amount to.
func entriesOf(i Injector, workloads []registrar.Workload) []string {
	var all []string
	for _, w := range workloads {
		all = append(all, i.Platform.Cluster.WorkloadEntry(w).ID)
	}
	return all
}

// What a pod needs while it runs is what was registered at its admission, and what its template needs before.
func TestNeedsAreWhatAdmissionRegisters(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	for name, change := range map[string]func(*corev1.Pod){
		"sidecar": func(*corev1.Pod) {},
		"sidecar and socket": func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationMode] = "sidecar,socket"
			p.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "app"}}
		},
		"gateway": func(p *corev1.Pod) {
			p.Annotations = map[string]string{
				intent.AnnotationMode: "gateway", intent.AnnotationInbound: "[{listen: 8443, tls: none}]",
				intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
			}
			p.Spec.Containers = []corev1.Container{{Name: "envoy", Image: "auto"}}
		},
		"another service account": func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" },
		"a TTL of its own":        func(p *corev1.Pod) { p.Annotations[intent.AnnotationX509SVIDTTL] = "30s" },
	} {
		t.Run(name, func(t *testing.T) {
			pod, registered := injectedServer(t, i, change)
			template := webhooktest.Server()
			change(template)
			for of, got := range map[string]registrar.Needs{
				"the pod":                 i.NeedsOfPod(ns, pod),
				"what is kept of the pod": i.NeedsOfPod(ns, Trim(pod)),
				"the template":            i.NeedsOfTemplate(ns, template),
			} {
				if len(got.Held) > 0 || len(got.Workloads) != len(registered) ||
					!slices.Equal(entriesOf(i, got.Workloads), entriesOf(i, registered)) {
					t.Errorf("%s needs %+v, and registered was %+v", of, got, registered)
				}
				if len(got.Workloads) > 0 && got.Workloads[0].X509SVIDTTL != registered[0].X509SVIDTTL {
					t.Errorf(
						"%s needs a TTL of %v, and registered was %v",
						of,
						got.Workloads[0].X509SVIDTTL,
						registered[0].X509SVIDTTL,
					)
				}
			}
		})
	}
}

func TestNeedsOfNobody(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	plain, mistaken := webhooktest.Server(), webhooktest.Server()
	plain.Labels = nil
	mistaken.Annotations[intent.AnnotationAppPort] = "eighty"
	for name, template := range map[string]*corev1.Pod{"not labelled": plain, "with a mistake": mistaken} {
		if got := i.NeedsOfTemplate(ns, template); len(got.Workloads)+len(got.Held) > 0 {
			t.Errorf("a template %s needs %+v", name, got)
		}
	}
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
		pod, _ := injectedServer(t, i)
		pod.Status.Phase = phase
		if got := i.NeedsOfPod(ns, pod); len(got.Workloads)+len(got.Held) > 0 {
			t.Errorf("a pod that %s needs %+v", phase, got)
		}
	}
	if got := i.NeedsOfPod(ns, webhooktest.Server()); len(got.Workloads)+len(got.Held) > 0 {
		t.Errorf("a pod that was not injected needs %+v", got)
	}
}

// A running pod keeps the identity of its injection. One that the platform does not allow any more is not minted again.
func TestNeedsOfPodAfterThePlatformChanged(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}

	byTemplate, registered := injectedServer(
		t,
		i,
		func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationSPIFFEID) },
	)
	renamed := i
	var err error
	renamed.Platform.Templates[0], err = intent.ParseIDTemplate("/ns/{namespace}/renamed/{serviceAccount}")
	if err != nil {
		t.Fatal(err)
	}
	if got := renamed.NeedsOfPod(ns, byTemplate); len(got.Held) > 0 ||
		!slices.Equal(entriesOf(i, got.Workloads), entriesOf(i, registered)) {
		t.Errorf("under another template the pod needs %+v, want the identity it has", got)
	}

	claimed, registered := injectedServer(t, i)
	revoked := i
	revoked.Platform.Claims = nil
	if got := revoked.NeedsOfPod(ns, claimed); len(got.Workloads) > 0 ||
		!slices.Equal(got.Held, entriesOf(i, registered)) {
		t.Errorf("without its claim the pod needs %+v, want its entry held", got)
	}
	locked := i
	locked.Platform.Locked = []string{"spiffe-id"}
	if got := locked.NeedsOfPod(ns, claimed); len(got.Workloads) > 0 || len(got.Held) != 1 {
		t.Errorf("with a locked annotation the pod needs %+v, want its entry held", got)
	}
}

// A pod cannot have the reconciler mint what its namespace may not hold, by a status of its own making.
func TestNeedsOfPodWithAForgedStatus(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	for _, id := range []string{
		"spiffe://example.org/ns/other/sa/admin", "spiffe://example.org/spire/server",
		"spiffe://elsewhere.org/api", "nonsense",
	} {
		pod, _ := injectedServer(t, i)
		status := StatusOf(pod)
		status.SPIFFEID = id
		if err := status.writeTo(pod); err != nil {
			t.Fatal(err)
		}
		if got := i.NeedsOfPod(intent.Namespace{Name: "demo"}, pod); len(got.Workloads) > 0 {
			t.Errorf("with the status of %s the pod gets %+v", id, got.Workloads)
		}
	}
}

// What a pod needs whose registration was left to the entries controller is not in SPIRE for certain.
func TestNeedsOfDeferredPod(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	res, err := i.Inject(ns, webhooktest.Server())
	if err != nil {
		t.Fatal(err)
	}
	deferred, err := Deferred(res)
	if err != nil {
		t.Fatal(err)
	}
	for pod, want := range map[*corev1.Pod]bool{res.Pod: false, deferred.Pod: true} {
		if got := i.NeedsOfPod(ns, Trim(pod)); got.Unconfirmed != want || len(got.Workloads) != 1 {
			t.Errorf("expected one workload, unconfirmed %t, got %+v", want, got)
		}
	}
}

// The pods of a quarantined identity have it placed on no node, and their entries stay for when it is taken off the
// list.
func TestQuarantinedPodsNeedNoRows(t *testing.T) {
	t.Parallel()
	i := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	res, err := i.Inject(ns, webhooktest.Server())
	if err != nil {
		t.Fatal(err)
	}
	pod := Trim(res.Pod)
	before := i.NeedsOfPod(ns, pod)
	id := res.Workloads[0].ID
	peer, err := ir.ParsePeer(id.TrustDomain(), nil, id.String())
	if err != nil {
		t.Fatal(err)
	}
	i.Platform.Quarantine = []ir.Peer{peer}
	if got := i.NeedsOfPod(ns, pod); before.Identity == "" || got.Identity != "" || len(got.Held) == 0 || len(got.Workloads) > 0 {
		t.Errorf("before %+v, quarantined %+v", before, got)
	}
	if got := i.NeedsOfTemplate(ns, webhooktest.Server()); len(got.Workloads) > 0 {
		t.Errorf("a template needs %+v", got)
	}
	if _, err := i.Inject(ns, webhooktest.Server()); err == nil {
		t.Error("a new pod gets the identity")
	}
	changed := res.Pod.DeepCopy()
	changed.Annotations[intent.AnnotationAllowedPeers] = "/other"
	if _, err := i.Update(ns, res.Pod, changed); err != nil {
		t.Errorf("a running pod cannot be changed: %v", err)
	}
}

// Replicas need the same but for their nodes, and are evaluated once.
func TestNeedsOfReplicasAreRemembered(t *testing.T) {
	ns := intent.Namespace{Name: "demo"}
	plain := Injector{Platform: webhooktest.Platform(t)}
	injector := remembering(t)
	pods := map[string]*corev1.Pod{}
	for name, change := range map[string]func(*corev1.Pod){
		"first":    func(*corev1.Pod) {},
		"replica":  func(p *corev1.Pod) { p.Name, p.UID, p.Spec.NodeName = "other", "other", "another-node" },
		"unbound":  func(p *corev1.Pod) { p.Spec.NodeName = "" },
		"ended":    func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"account":  func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" },
		"label":    func(p *corev1.Pod) { p.Labels[intent.LabelIdentity] = "other" },
		"status":   func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationStatus) },
		"lifetime": func(p *corev1.Pod) { p.Annotations[intent.AnnotationX509SVIDTTL] = "31s" },
	} {
		pod, _ := injectedServer(t, plain)
		pod.Spec.NodeName = "node"
		pod = Trim(pod)
		change(pod)
		pods[name] = pod
	}
	for range 2 {
		for name, pod := range pods {
			if got, want := injector.NeedsOfPod(ns, pod), plain.NeedsOfPod(ns, pod); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: expected %+v, got %+v", name, want, got)
			}
		}
	}
	for name, node := range map[string]string{"first": "node", "replica": "another-node", "unbound": ""} {
		if got := injector.NeedsOfPod(ns, pods[name]); got.Node != node || len(got.Workloads) == 0 {
			t.Errorf("%s: expected its identity on node %q, got %+v", name, node, got)
		}
	}
	if got, want := injector.Decisions.needs.Len(), 4; got != want { // the first three are one, and two need nothing
		t.Errorf("expected %d evaluations, got %d", want, got)
	}
}
