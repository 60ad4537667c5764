package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	lds = templates.ListenersFile
	cds = templates.ClustersFile
)

const calm = 30 * time.Second

const platformText = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: envoy}
`

// world is a cluster with a webhook and Envoys, which refuse to let a peer "bad" in. Its time is that of the bubble.
type world struct {
	t          *testing.T
	mu         sync.Mutex
	injector   inject.Injector
	namespaces map[string]intent.Namespace
	pods       map[types.NamespacedName]*corev1.Pod
	updates    map[types.NamespacedName]templates.Updates
	noPage     bool                     // these Envoys are old
	refusal    error                    // of every change of a pod
	unreadable bool                     // are namespaces
	hidden     bool                     // are pods
	reads      int                      // of namespaces that were not
	stale      bool                     // the replica that answers has not seen the change yet
	lost       bool                     // changes are made, and the answers get lost
	slow       time.Duration            // of a kubelet beyond its usual time
	looks      int                      // at Envoys
	lists      int                      // of pods
	unlisted   bool                     // a list of pods fails
	hang       map[string]time.Duration // before an Envoy of a namespace answers
	changed    []string
	at         []time.Time // of the changes
	events     []string

	limit    rate.Limit
	registry *prometheus.Registry
	rollout  *Rollout
	stop     func()
}

// newWorld has pods "namespace/name", whose namespaces let the peer /first in.
func newWorld(t *testing.T, limit rate.Limit, names ...string) *world {
	t.Helper()
	platform, err := intent.ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, limit: limit, injector: inject.Injector{Platform: platform}, namespaces: map[string]intent.Namespace{},
		pods: map[types.NamespacedName]*corev1.Pod{}, updates: map[types.NamespacedName]templates.Updates{},
	}
	w.renew()
	for _, name := range names {
		w.add(pod(name).NamespacedName)
	}
	return w
}

// renew has another replica carry changes.
func (w *world) renew() {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	metrics, err := NewMetrics(w.registry)
	if err != nil {
		w.t.Fatal(err)
	}
	w.rollout = New(Config{
		Injector: w.inForce, Cluster: w, Envoys: w, Rate: w.limit, Metrics: metrics, Logger: logr.Discard(), Calm: calm,
		Event: func(about, related runtime.Object, eventType string, why reason.Reason, note string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if named(about) == replicasOf(related) {
				return
			}
			w.events = append(w.events, named(about)+" "+why.String()+": "+note)
			if eventType != corev1.EventTypeWarning || related != nil && named(related) == "" {
				w.t.Errorf("an event of type %s about %s and %v", eventType, named(about), related)
			}
		},
	})
}

// named is what an event is about.
func named(object runtime.Object) string {
	switch o := object.(type) {
	case *corev1.Pod:
		return o.Namespace + "/" + o.Name
	case *corev1.ObjectReference:
		return o.Kind + " " + o.Namespace + "/" + o.Name
	}
	return ""
}

// replicasOf is what a world's pods are replicas of, if it gave it to them.
func replicasOf(object runtime.Object) string {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return "none"
	}
	return "StatefulSet " + pod.Namespace + "/all" + replicaOf(pod.Namespace+"/"+pod.Name)
}

func (w *world) add(name types.NamespacedName) {
	w.t.Helper()
	ns, known := w.namespaces[name.Namespace]
	if !known {
		ns = intent.Namespace{Name: name.Namespace, Annotations: map[string]string{intent.AnnotationAllowedPeers: "/first"}}
		w.namespaces[name.Namespace] = ns
	}
	p := &corev1.Pod{}
	p.Namespace, p.Name, p.UID = name.Namespace, name.Name, types.UID("uid-"+name.String())
	p.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "StatefulSet", Name: "all" + replicaOf(name.String()), Controller: new(true),
	}}
	p.Labels = map[string]string{intent.LabelInject: intent.InjectEnabled}
	p.Annotations = map[string]string{intent.AnnotationAppPort: "8080"}
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	res, err := w.injector.Inject(ns, p)
	if err != nil {
		w.t.Fatal(err)
	}
	p = res.Pod
	p.Status.PodIP = "10.0.0.1"
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{
		Name: intent.SidecarName, ContainerID: "first", Started: new(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	w.pods[name], w.updates[name] = p, templates.Updates{
		lds: {Taken: 1, Last: time.Now()},
		cds: {Taken: 1, Last: time.Now()},
	}
}

func (w *world) inForce() inject.Injector {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.injector
}

func (w *world) Each(_ context.Context, namespace string, do func(*corev1.Pod)) error {
	w.mu.Lock()
	w.lists++
	if w.unlisted {
		w.mu.Unlock()
		return errors.New("the server is currently unable to handle the request")
	}
	names := slices.SortedFunc(maps.Keys(w.pods),
		func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	var all []*corev1.Pod
	for _, name := range names {
		if namespace == "" || name.Namespace == namespace {
			all = append(all, w.pods[name].DeepCopy())
		}
	}
	w.mu.Unlock()
	for _, p := range all {
		do(p)
	}
	return nil
}

func (w *world) Pod(_ context.Context, name types.NamespacedName) (*corev1.Pod, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hidden {
		return nil, errors.New("the API server is away")
	}
	p, ok := w.pods[name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name.Name)
	}
	return p.DeepCopy(), nil
}

func (w *world) Namespace(_ context.Context, name string) (intent.Namespace, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unreadable {
		w.reads++
		return intent.Namespace{}, errors.New("the API server is away")
	}
	ns, ok := w.namespaces[name]
	if !ok {
		return ns, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, name)
	}
	return ns, nil
}

func (w *world) Refresh(_ context.Context, p *corev1.Pod, value string) (*corev1.Pod, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refusal != nil {
		return nil, w.refusal
	}
	name := podOf(p).NamespacedName
	after := w.pods[name].DeepCopy()
	after.Annotations[intent.AnnotationRefresh] = value
	if w.stale {
		return after, nil
	}
	res, err := w.injector.Update(w.namespaces[p.Namespace], w.pods[name], after)
	if err != nil {
		return nil, err
	}
	w.changed, w.at = append(w.changed, name.String()), append(w.at, time.Now())
	before := w.pods[name].Spec.InitContainers[0].Image
	w.pods[name] = res.Pod
	go w.kubelet(name, before)
	if w.lost {
		return nil, errors.New("timeout")
	}
	return res.Pod.DeepCopy(), nil
}

// kubelet gives an Envoy its files, or another image, a while later.
func (w *world) kubelet(name types.NamespacedName, image string) {
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	time.Sleep(100*time.Millisecond + slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pods[name] == nil {
		return
	}
	p := w.pods[name].DeepCopy()
	switch to := p.Spec.InitContainers[0].Image; {
	case to == image:
	case len(p.Status.InitContainerStatuses) == 0: // nothing runs yet, and nothing will
	case strings.HasPrefix(to, "silent"): // what a kubelet shows of a sidecar that ended well and whose next image is none
		p.Status.InitContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	case strings.HasPrefix(to, "missing"):
		p.Status.InitContainerStatuses[0].State = corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"},
		}
	default:
		p.Status.InitContainerStatuses[0].ContainerID += to
		p.Status.InitContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		w.updates[name] = templates.Updates{lds: {}, cds: {}}
	}
	w.pods[name] = p
	next := maps.Clone(w.updates[name])
	for file, u := range next {
		if file == lds && strings.Contains(p.Annotations[intent.AnnotationListeners], "example.org/bad") {
			u.Refused++
		} else {
			u.Taken++
			u.Last = time.Now()
		}
		next[file] = u
	}
	w.updates[name] = next
}

func (w *world) Updates(ctx context.Context, p *corev1.Pod) (templates.Updates, error) {
	w.mu.Lock()
	hang := w.hang[p.Namespace]
	w.mu.Unlock()
	if !sleep(ctx, hang) {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.noPage {
		return nil, ErrNoPage
	}
	return w.updates[podOf(p).NamespacedName], nil
}

// allow changes a namespace.
func (w *world) allow(namespace, peers string) {
	w.mu.Lock()
	w.namespaces[namespace] = intent.Namespace{
		Name:        namespace,
		Annotations: map[string]string{intent.AnnotationAllowedPeers: peers, "other.io/x": peers},
	}
	w.mu.Unlock()
	w.rollout.NamespaceChanged(namespace)
}

// platform changes the platform.
func (w *world) platform(change func(*intent.Platform)) {
	w.mu.Lock()
	change(&w.injector.Platform)
	w.mu.Unlock()
	w.rollout.PlatformChanged()
}

// begin has the replica lead, which changes nothing for a while.
func (w *world) begin() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { _ = w.rollout.Start(ctx) }()
}

// lead has the replica lead until it may change something.
func (w *world) lead() {
	w.begin()
	time.Sleep(calm - time.Millisecond)
	w.mu.Lock()
	if len(w.changed) > 0 {
		w.t.Errorf("a new leader changed %v at once", w.changed)
	}
	w.mu.Unlock()
	time.Sleep(time.Millisecond)
}

// want expects these pods to have been changed, in this order, since it was called last.
func (w *world) want(names ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.changed, names) {
		w.t.Errorf("expected %v to be changed, got %v", names, w.changed)
	}
	w.changed = nil
}

func (w *world) wantEvents(parts ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) != len(parts) {
		w.t.Errorf("expected %d events, got %q", len(parts), w.events)
		return
	}
	for i, part := range parts {
		if !strings.Contains(w.events[i], part) {
			w.t.Errorf("expected an event with %q, got %q", part, w.events[i])
		}
	}
	w.events = nil
}

func inWorld(t *testing.T, limit rate.Limit, names []string, do func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, limit, names...)
		do(w)
		w.stop()
		time.Sleep(2 * time.Minute) // until every goroutine has noticed
	})
}

func some(namespace string, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s/%d", namespace, i))
	}
	return names
}

func TestRolloutFollowsNamespace(t *testing.T) {
	t.Parallel()
	inWorld(t, 2, append(some("a", 5), "b/0"), func(w *world) {
		w.lead()
		w.want()
		w.allow("a", "/second")
		time.Sleep(time.Minute)
		w.want(some("a", 5)...)
		for i := 2; i < len(w.at); i++ { // the second one follows the first one's outcome
			if d := w.at[i].Sub(w.at[i-1]); d != 500*time.Millisecond {
				t.Errorf("pod %d was changed %s after the one before", i, d)
			}
		}
		w.wantEvents()
		w.rollout.NamespaceChanged("a")
		time.Sleep(time.Minute)
		w.want()
	})
}

func TestRolloutStopsAfterFirstPod(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, append(some("a", 3), some("b", 2)...), func(w *world) {
		w.lead()
		w.allow("a", "/bad")
		time.Sleep(59 * time.Second) // within the minute
		w.want("a/0")
		w.wantEvents("a/0 ConfigurationRejected: Envoy refuses the configuration that this pod was given (listeners.yaml)")
		w.allow("b", "/second") // which is not a's fault
		time.Sleep(time.Minute)
		w.want("b/0", "b/1")
		w.allow("a", "/first")
		time.Sleep(time.Minute)
		w.want("a/0") // the others have it still
		w.wantEvents()
		if w.rollout.plan.Rejecting() != 0 {
			t.Error("the mended pod still counts as rejecting")
		}
	})
}

func TestRolloutStopsChangedPlatform(t *testing.T) {
	t.Parallel()
	names := []string{"a/0", "a/1", "b/0", "b/1"}
	inWorld(t, 10, names, func(w *world) {
		for ns := range w.namespaces { // they leave it to the platform who may call
			w.namespaces[ns] = intent.Namespace{Name: ns}
		}
		bad := func(text string) func(*intent.Platform) {
			return func(p *intent.Platform) {
				peer, err := ir.ParsePeer(p.Cluster.TrustDomain, nil, text)
				if err != nil {
					t.Fatal(err)
				}
				p.AllowedPeers = []ir.Peer{peer}
			}
		}
		bad("/first")(&w.injector.Platform)
		w.lead()
		w.want()
		w.platform(bad("/bad"))
		time.Sleep(time.Minute)
		w.want("a/0", "b/0")
		w.wantEvents("no further pod of StatefulSet/all is changed",
			"no further pod is changed until the platform file or the namespaces change again")
		w.platform(bad("/second"))
		time.Sleep(time.Minute)
		slices.Sort(w.changed)
		w.want(names...)
	})
}

// A platform that changed nothing in running pods is not to blame for what a namespace does later.
func TestRolloutBlamesNamespaceAfterHarmlessPlatform(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, []string{"a/0", "a/1", "b/0"}, func(w *world) {
		w.lead()
		w.platform(func(p *intent.Platform) { p.Sidecar.LogLevel = "info" })
		time.Sleep(10 * time.Second)
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents("no further pod of StatefulSet/all is changed until the annotations of namespace a or the platform file")
		w.allow("b", "/second")
		time.Sleep(time.Minute)
		w.want("b/0")
	})
}

// A namespace may be seen to have changed by the way, before it is told: its other pods follow all the same.
func TestRolloutFollowsNamespaceThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	inWorld(t, 0.5, some("a", 3), func(w *world) {
		w.lead()
		w.allow("a", "/second")
		time.Sleep(1500 * time.Millisecond)
		w.want("a/0")
		w.mu.Lock()
		w.namespaces["a"] = in("/third")
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		w.want("a/1")
		w.rollout.NamespaceChanged("a")
		time.Sleep(time.Minute)
		w.want("a/2", "a/0")
	})
}

// in is the namespace a with peers.
func in(peers string) intent.Namespace {
	return intent.Namespace{Name: "a", Annotations: map[string]string{intent.AnnotationAllowedPeers: peers}}
}

// A new leader learns from the pods what the old one knew.
func TestRolloutRemembersByPods(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 4), func(w *world) {
		w.lead()
		time.Sleep(10 * time.Second)
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.want("a/0")
		w.stop()
		w.renew()
		w.lead()
		time.Sleep(time.Minute)
		w.want()
		if !w.rollout.plan.Paused() || w.rollout.plan.Outdated() != 3 {
			t.Errorf("expected three outdated pods to wait, got %d", w.rollout.plan.Outdated())
		}
		w.allow("a", "/second")
		time.Sleep(time.Minute)
		w.want("a/1", "a/2", "a/3", "a/0")
	})
}

func TestRolloutCarriesWhatChangedWhileNobodyLed(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.allow("a", "/second")
		w.lead()
		time.Sleep(time.Minute)
		w.want("a/0", "a/1")
	})
}

func TestRolloutPaused(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, some("a", 2), func(w *world) {
		w.lead()
		w.allow("a", "/second")
		time.Sleep(time.Hour)
		w.want()
		if !w.rollout.plan.Paused() || w.rollout.plan.Outdated() != 2 {
			t.Errorf("expected two outdated pods to wait, got %d", w.rollout.plan.Outdated())
		}
	})
}

func TestRolloutTriesAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 1), func(w *world) {
		w.refusal = errors.New("the webhook is away")
		w.lead()
		w.allow("a", "/second")
		time.Sleep(time.Minute)
		w.want()
		w.mu.Lock()
		w.refusal = nil
		w.mu.Unlock()
		time.Sleep(retryAfter)
		w.want("a/0")
	})
}

func TestRolloutOfOldEnvoys(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 5), func(w *world) {
		w.noPage = true
		w.lead()
		w.allow("a", "/second")
		time.Sleep(time.Minute)
		w.want(some("a", 5)...)
		w.wantEvents()
	})
}

// What an Envoy rejects of its owner's own changes is reported as well, and stops nobody.
func TestRolloutReportsChangesOfOthers(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]time.Duration{"before the files": 0, "after the files": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 1, some("a", 2), func(w *world) {
				w.lead()
				time.Sleep(10 * time.Second)
				annotate := func(peers string) {
					w.mu.Lock()
					defer w.mu.Unlock()
					key := pod("a/1").NamespacedName
					after := w.pods[key].DeepCopy()
					after.Annotations[intent.AnnotationAllowedPeers] = peers
					res, err := w.injector.Update(w.namespaces["a"], w.pods[key], after)
					if err != nil {
						t.Fatal(err)
					}
					w.pods[key] = res.Pod
					go w.kubelet(key, "envoy")
					go func() {
						time.Sleep(late)
						w.rollout.PodChanged(podOf(res.Pod), inject.ConfigDigest(res.Pod))
					}()
				}
				annotate("/good")
				time.Sleep(time.Minute)
				w.wantEvents()
				annotate("/bad")
				time.Sleep(time.Minute)
				w.wantEvents("a/1 ConfigurationRejected")
				if w.rollout.plan.Paused() || w.rollout.plan.Rejecting() != 1 {
					t.Errorf("expected one that rejects and nothing paused, got %d", w.rollout.plan.Rejecting())
				}
				annotate("/good")
				time.Sleep(time.Minute)
				w.wantEvents()
				if w.rollout.plan.Rejecting() != 0 {
					t.Error("the mended pod still counts as rejecting")
				}
			})
		})
	}
}

func TestRolloutOfImageInPlace(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 3), func(w *world) {
		w.lead()
		w.platform(func(p *intent.Platform) { p.Sidecar.Image = "missing-not-asked" })
		time.Sleep(time.Minute)
		w.want() // new pods only
		w.platform(func(p *intent.Platform) { p.Sidecar.Image, p.InPlace = "missing", true })
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents(
			"a/0 ConfigurationRejected: the sidecar of this pod does not start with the image that it was given: " +
				"ErrImagePull: not found",
		)
		w.platform(func(p *intent.Platform) { p.Sidecar.Image = "envoy" }) // which the others have still
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents()
		if w.rollout.plan.Rejecting() != 0 || w.rollout.plan.Paused() {
			t.Error("the mended pod still counts as rejecting")
		}
		w.platform(func(p *intent.Platform) { p.Sidecar.Image = "silent" })
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents(
			"a/0 ConfigurationRejected: the sidecar of this pod does not start with the image that it was given: not within 30s")
		w.platform(func(p *intent.Platform) { p.Sidecar.Image = "newer" })
		time.Sleep(time.Minute)
		w.wantEvents()
		slices.Sort(w.changed)
		w.want(some("a", 3)...)
		for i := len(w.at) - 2; i < len(w.at); i++ {
			if d := w.at[i].Sub(w.at[i-1]); d < pauses[0] {
				t.Errorf("two Envoys of a namespace restarted %s one after the other, without waiting for an outcome", d)
			}
		}
		for name, p := range w.pods {
			if p.Spec.InitContainers[0].Image != "newer" {
				t.Errorf("%s has image %s", name, p.Spec.InitContainers[0].Image)
			}
		}
	})
}

// Pods that cannot follow are counted, and hold nobody up.
func TestRolloutCountsPodsThatCannotFollow(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, []string{"a/0", "b/0", "c/0", "c/1"}, func(w *world) {
		w.lead()
		w.allow("a", "first") // which is no peer
		w.mu.Lock()
		w.namespaces["b"] = intent.Namespace{
			Name:        "b",
			Annotations: map[string]string{intent.AnnotationAllowedPeers: "/first", intent.AnnotationSPIFFEID: "/ns/b/other"},
		}
		w.mu.Unlock()
		w.rollout.NamespaceChanged("b")
		w.allow("c", "/second")
		time.Sleep(10 * time.Second)
		w.want("c/0", "c/1")
		states := map[string]string{}
		for key, state := range w.rollout.stuck.of {
			states[key.NamespacedName.String()] = state
		}
		if want := map[string]string{"a/0": stateInvalid, "b/0": stateNeedsNewPod}; !maps.Equal(states, want) {
			t.Errorf("expected %v, got %v", want, states)
		}
		w.mu.Lock()
		delete(w.pods, pod("b/0").NamespacedName)
		w.mu.Unlock()
		w.rollout.PodGone(Pod{pod("b/0").NamespacedName, "uid-b/0"})
		w.allow("a", "/first")
		time.Sleep(10 * time.Second)
		if len(w.rollout.stuck.of) > 0 {
			t.Errorf("expected nothing left, got %v", w.rollout.stuck.of)
		}
	})
}

// While one version of the injector takes another one's place, or before all have seen a change, a pod may be given
// something else.
func TestRolloutNoticesOtherReplicas(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.stale = true
		w.lead()
		w.allow("a", "/second")
		time.Sleep(5 * time.Second)
		if w.rollout.plan.Proven("a", "") || w.rollout.plan.Outdated() != 2 {
			t.Errorf("expected two outdated pods and nothing proven, got %d", w.rollout.plan.Outdated())
		}
		w.mu.Lock()
		w.stale = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.want("a/0", "a/1")
	})
}

// The watch tells of the rollout's own changes too, which are looked at already.
func TestRolloutKnowsItsOwnChanges(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		w.allow("a", "/second")
		time.Sleep(time.Minute)
		w.want("a/0")
		looks := w.looks
		key := pod("a/0").NamespacedName
		w.rollout.PodChanged(podOf(w.pods[key]), inject.ConfigDigest(w.pods[key]))
		time.Sleep(time.Minute)
		if w.looks != looks {
			t.Errorf("its Envoy was asked %d times more", w.looks-looks)
		}
	})
}

// The first pod is one that can tell of its outcome; when it has, pods that do not run yet follow too.
func TestRolloutTriesPodThatRuns(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 3), func(w *world) {
		for _, name := range []string{"a/0", "a/2"} {
			w.pods[pod(name).NamespacedName].Status.InitContainerStatuses = nil
		}
		w.lead()
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.want("a/1")
		w.allow("a", "/second")
		time.Sleep(2 * askAfter)
		w.want("a/1", "a/2", "a/0")
	})
}

// metric is the value of one of the rollout's gauges or counters.
func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			short := strings.TrimPrefix(strings.TrimPrefix(family.GetName(), "spire_injector_"), "rollout_")
			if short == name && (label == "" || metric.GetLabel()[0].GetValue() == label) {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

func (w *world) wantMetrics(want map[string]float64) {
	w.t.Helper()
	for what, want := range want {
		name, label, _ := strings.Cut(what, " ")
		if got := w.metric(name, label); got != want {
			w.t.Errorf("metric %s: expected %g, got %g", what, want, got)
		}
	}
}

// remove deletes a pod; the watch notices unless it has missed it.
func (w *world) remove(name string, noticed bool) {
	w.mu.Lock()
	delete(w.pods, pod(name).NamespacedName)
	w.mu.Unlock()
	if noticed {
		w.rollout.PodGone(Pod{pod(name).NamespacedName, types.UID("uid-" + name)})
	}
}

func TestRolloutMetrics(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, append(some("a", 4), "b/0", "c/0"), func(w *world) {
		w.lead()
		w.wantMetrics(map[string]float64{"paused": 0, "pods outdated": 0, "pods rejected": 0, "refreshes_total taken": 0})
		w.allow("b", "/second")
		w.allow("c", "no peer")
		time.Sleep(10 * time.Second)
		w.wantMetrics(map[string]float64{"paused": 0, "pods invalid": 1, "refreshes_total taken": 1})
		w.allow("a", "/bad")
		time.Sleep(10 * time.Second)
		w.wantMetrics(map[string]float64{
			"paused": 1, "pods outdated": 3, "pods rejected": 1, "pods invalid": 1, "pods needs_new_pod": 0,
			"refreshes_total taken": 1, "refreshes_total rejected": 1, "refreshes_total unknown": 0, "refreshes_total failed": 0,
		})
		w.refusal = errors.New("away")
		w.allow("a", "/third")
		time.Sleep(5 * time.Second)
		if got := w.metric("refreshes_total", "failed"); got == 0 {
			t.Error("a change that failed is not counted")
		}
	})
}

// A pod that is deleted while its outcome is awaited rejects nothing, and is in the way of nobody.
func TestRolloutOfPodThatGoes(t *testing.T) {
	t.Parallel()
	for name, noticed := range map[string]bool{"noticed": true, "not noticed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 10, some("a", 3), func(w *world) {
				w.lead()
				w.mu.Lock()
				w.slow = 100 * time.Second // a/0 does not come up with its image while it is there
				w.mu.Unlock()
				w.platform(func(p *intent.Platform) { p.Sidecar.Image, p.InPlace = "newer", true })
				time.Sleep(5 * time.Second)
				w.want("a/0")
				w.mu.Lock()
				w.slow = 0
				w.mu.Unlock()
				w.remove("a/0", noticed)
				time.Sleep(time.Minute)
				w.want("a/1", "a/2")
				w.wantEvents()
				w.wantMetrics(map[string]float64{"paused": 0, "pods rejected": 0, "refreshes_total rejected": 0})
				if len(w.rollout.awaited)+len(w.rollout.wrote) > 2 {
					t.Errorf("something is left of a pod that is gone: %v, %v", w.rollout.awaited, w.rollout.wrote)
				}
			})
		})
	}
}

// A rejection by a pod that has gone before it could be noted is none.
func TestRolloutIgnoresLateOutcome(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.lead()
		key := Pod{pod("a/0").NamespacedName, "uid-a/0"}
		late := &outcome{of: &await{pod: w.pods[key.NamespacedName], ours: true}, verdict: verdict.Verdict{Outcome: verdict.Rejected}}
		w.rollout.queue.Add(late)
		time.Sleep(time.Second)
		w.wantEvents()
		w.wantMetrics(map[string]float64{"paused": 0, "pods rejected": 0, "refreshes_total rejected": 0})
	})
}

// What somebody changes while the outcome of a change is awaited is looked at when that is known.
func TestRolloutLooksAtChangeMeanwhile(t *testing.T) {
	t.Parallel()
	for name, peers := range map[string]string{"refused": "/bad", "taken": "/good"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 10, some("a", 1), func(w *world) {
				w.lead()
				w.allow("a", "/second")
				time.Sleep(debounce + 200*time.Millisecond) // Envoy has read it, and nobody has looked
				w.want("a/0")
				w.mu.Lock()
				w.slow = 400 * time.Millisecond // until after the look
				key := pod("a/0").NamespacedName
				after := w.pods[key].DeepCopy()
				after.Annotations[intent.AnnotationAllowedPeers] = peers
				res, err := w.injector.Update(w.namespaces["a"], w.pods[key], after)
				if err != nil {
					t.Fatal(err)
				}
				w.pods[key] = res.Pod
				go w.kubelet(key, "envoy")
				w.mu.Unlock()
				w.rollout.PodChanged(podOf(res.Pod), inject.ConfigDigest(res.Pod))
				time.Sleep(time.Minute)
				w.wantMetrics(map[string]float64{"refreshes_total taken": 1, "refreshes_total rejected": 0, "paused": 0})
				if peers == "/good" {
					w.wantEvents()
					return
				}
				w.wantEvents("a/0 ConfigurationRejected: Envoy refuses the configuration that this pod was given (listeners.yaml)")
				w.wantMetrics(map[string]float64{"pods rejected": 1})
			})
		})
	}
}

// A change whose answer is lost was made all the same: if the pod rejects it, no other one gets it.
func TestRolloutAwaitsChangeWithLostAnswer(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 3), func(w *world) {
		w.lost = true
		w.lead()
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents("a/0 ConfigurationRejected")
	})
}

// A sidecar that never served says nothing of its image: only one that did, and does not come back, has rejected it.
func TestRolloutOfSidecarThatNeverServed(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.pods[pod("a/1").NamespacedName].Status.InitContainerStatuses = nil
		w.lead()
		w.platform(func(p *intent.Platform) { p.Sidecar.Image, p.InPlace = "newer", true })
		time.Sleep(2 * time.Minute)
		w.want("a/0", "a/1")
		w.wantEvents()
		w.wantMetrics(
			map[string]float64{"paused": 0, "pods rejected": 0, "refreshes_total taken": 1, "refreshes_total unknown": 1})
	})
}

// A new leader sees images that the old one found out not to start.
func TestRolloutRemembersBrokenImage(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 3), func(w *world) {
		w.lead()
		w.platform(func(p *intent.Platform) { p.Sidecar.Image, p.InPlace = "missing", true })
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents("a/0 ConfigurationRejected")
		w.stop()
		w.renew()
		w.lead()
		time.Sleep(time.Minute)
		w.want()
		w.wantEvents()
		w.wantMetrics(map[string]float64{"paused": 1, "pods rejected": 1, "pods outdated": 2})
	})
}

// The owner of a pod, where its author looks, gets the same event.
func TestRolloutReportsToOwner(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.pods[pod("a/0").NamespacedName].OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "api", Controller: new(true)},
		}
		w.lead()
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.wantEvents("a/0 ConfigurationRejected: Envoy refuses",
			"ReplicaSet a/api ConfigurationRejected: pod 0: Envoy refuses")
	})
}

// Pods that cannot be listed, or a namespace that cannot be read, are tried again, ever more seldom.
func TestRolloutTriesReadingAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		w.unreadable = true
		w.allow("a", "/second")
		time.Sleep(2 * time.Minute)
		w.want()
		if w.reads < 4 || w.reads > 6 { // after 0, 10, 30, 70 s, and then each minute
			t.Errorf("expected some attempts, got %d", w.reads)
		}
		w.mu.Lock()
		w.unreadable = false
		w.mu.Unlock()
		time.Sleep(6*retryAfter + time.Second)
		w.want("a/0")
		w.mu.Lock()
		w.unreadable, w.reads = true, 0
		w.mu.Unlock()
		w.allow("a", "/third")
		time.Sleep(debounce + retryAfter + time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.unreadable = false; w.reads != 2 { // what was forgotten begins with the shortest pause
			t.Errorf("expected two attempts, got %d", w.reads)
		}
	})
}

// Pods that cannot be listed follow their namespace when they can be.
func TestRolloutTriesListingAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		time.Sleep(time.Minute)
		set := func(unlisted bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.unlisted = unlisted
		}
		set(true)
		w.allow("a", "/second")
		time.Sleep(debounce + time.Second)
		w.want()
		set(false)
		time.Sleep(retryAfter + time.Second)
		w.want("a/0")
	})
}

// A new leader compares all pods once, after it has recalled what the one before began, however many namespaces it has
// seen change meanwhile.
func TestRolloutBeginsWithOneComparison(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.rollout.NamespaceChanged(name)
		}
		time.Sleep(time.Minute)
		w.lead()
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.lists != 2 {
			t.Errorf("expected two lists of pods, got %d", w.lists)
		}
	})
}

// What nobody was notified of is found by the next look at everything.
func TestRolloutResyncs(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.lead()
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.namespaces["a"] = in("/second")
		w.mu.Unlock()
		time.Sleep(resyncAfter - 2*time.Minute)
		w.want()
		time.Sleep(3*time.Minute + resyncAfter/10)
		w.want("a/0", "a/1")
	})
}

// Two changes soon after each other are one.
func TestRolloutDebounces(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		w.allow("a", "/second")
		time.Sleep(debounce - time.Millisecond)
		w.want()
		w.allow("a", "/third")
		time.Sleep(10 * time.Second)
		w.want("a/0")
	})
}

// A pod that has taken the place of the one whose change failed was not changed.
func TestRefreshOfPodThatWasReplaced(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		w.refusal = errors.New("no such pod")
		key := pod("a/0").NamespacedName
		was := w.pods[key]
		next := was.DeepCopy()
		next.UID, next.Annotations[intent.AnnotationRefresh] = "next", "value"
		w.pods[key] = next
		wanted := inject.Refresh{Value: "value", Wanted: inject.ConfigDigest(next)}
		if _, err := w.rollout.refresh(t.Context(), was, wanted); !errors.Is(err, w.refusal) {
			t.Errorf("expected the error, got %v", err)
		}
		if got, err := w.rollout.refresh(t.Context(), next, wanted); err != nil || got.UID != "next" {
			t.Errorf("expected the pod as it is, got %v, %v", got, err)
		}
	})
}

// What is read of a pod is that very pod while it runs, or nothing.
func TestReadingPod(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.lead()
		key := pod("a/0").NamespacedName
		w.pods[pod("a/1").NamespacedName].Status.Phase = corev1.PodFailed
		for name, test := range map[string]struct {
			key   Pod
			found bool
		}{
			"it":                   {Pod{key, w.pods[key].UID}, true},
			"one before it":        {Pod{key, "before"}, false},
			"one that has ended":   {Pod{pod("a/1").NamespacedName, w.pods[pod("a/1").NamespacedName].UID}, false},
			"one that never was":   {Pod{pod("a/2").NamespacedName, "x"}, false},
			"one in no namespaces": {Pod{pod("b/0").NamespacedName, "x"}, false},
		} {
			got, _, err := w.rollout.read(t.Context(), test.key)
			if err != nil || (got != nil) != test.found {
				t.Errorf("%s: got %v, %v", name, got, err)
			}
		}
	})
}

// What another tool writes on a namespace has no pod read, and of a namespace that is gone nothing is left.
func TestRolloutReadsNoPodsForNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 2), func(w *world) {
		w.lead()
		w.allow("a", "/bad")
		time.Sleep(time.Minute)
		w.want("a/0")
		w.wantEvents("a/0 ConfigurationRejected")
		lists := w.lists
		w.rollout.NamespaceChanged("a")
		time.Sleep(time.Minute)
		if w.lists != lists {
			t.Errorf("pods were listed %d times for nothing", w.lists-lists)
		}
		w.wantMetrics(map[string]float64{"paused": 1})
		w.mu.Lock()
		delete(w.namespaces, "a")
		w.mu.Unlock()
		w.remove("a/0", true)
		w.remove("a/1", true)
		w.rollout.NamespaceChanged("a")
		time.Sleep(time.Minute)
		w.wantMetrics(map[string]float64{"paused": 0, "pods rejected": 0, "pods outdated": 0})
		w.add(pod("a/0").NamespacedName) // another namespace of the name, as it was at first
		lists = w.lists
		w.rollout.NamespaceChanged("a")
		time.Sleep(time.Minute)
		if w.lists != lists+1 {
			t.Errorf("the pods of a new namespace were listed %d times", w.lists-lists)
		}
	})
}

func TestEnded(t *testing.T) {
	t.Parallel()
	for phase, want := range map[corev1.PodPhase]bool{corev1.PodRunning: false, corev1.PodPending: false, corev1.PodSucceeded: true, corev1.PodFailed: true} {
		if got := ended(&corev1.Pod{Status: corev1.PodStatus{Phase: phase}}); got != want {
			t.Errorf("%s: got %t", phase, got)
		}
	}
	if !ended(
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		},
	) {
		t.Error("one that is being deleted goes on")
	}
}

// quarantine gives the platform the list.
func (w *world) quarantine(items ...string) {
	w.platform(func(p *intent.Platform) {
		p.Quarantine = nil
		for _, item := range items {
			peer, err := ir.ParsePeer(p.Cluster.TrustDomain, nil, item)
			if err != nil {
				w.t.Fatal(err)
			}
			p.Quarantine = append(p.Quarantine, peer)
		}
	})
}

// marked are the pods that refuse somebody quarantined.
func (w *world) marked() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, p := range w.pods {
		if templates.QuarantineMarks(p.Annotations[intent.AnnotationListeners]) != "" {
			names = append(names, name.String())
		}
	}
	slices.Sort(names)
	return names
}

// A quarantine goes to all pods that would admit the identity, and to no others, whatever holds other changes back: the
// rate, the calm of a new leader, pods that reject or do not answer. So does its end.
func TestQuarantineGoesToAllAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, append(some("a", 40), some("b", 3)...), func(w *world) {
		w.namespaces["b"] = intent.Namespace{
			Name:        "b",
			Annotations: map[string]string{intent.AnnotationAllowedPeers: "/second"},
		}
		for _, name := range some("b", 3) { // whose list does not have it
			delete(w.pods, pod(name).NamespacedName)
			w.add(pod(name).NamespacedName)
		}
		w.hang = map[string]time.Duration{"a": time.Hour}
		w.begin()
		w.quarantine("/first", "/never")
		time.Sleep(debounce + 100*time.Millisecond)
		want := some("a", 40)
		slices.Sort(want)
		if got := w.marked(); !slices.Equal(got, want) {
			t.Errorf("expected all pods of a to refuse, got %v", got)
		}
		w.wantMetrics(map[string]float64{"quarantine_changes_total changed": 40, "quarantine_pods waiting": 0})
		w.changed = nil
		w.quarantine()
		time.Sleep(debounce + 100*time.Millisecond)
		if got := w.marked(); len(got) > 0 {
			t.Errorf("expected nobody to refuse, got %v", got)
		}
		if len(w.changed) != 40 {
			t.Errorf("expected 40 pods changed back, got %v", w.changed)
		}
	})
}

// A pod that cannot be changed is tried again until it can, and holds nobody up.
func TestQuarantineIsTriedAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 2), func(w *world) {
		w.lead()
		w.mu.Lock()
		w.refusal = errors.New("denied by another webhook")
		w.mu.Unlock()
		w.quarantine("/first")
		time.Sleep(20 * time.Second)
		w.wantMetrics(map[string]float64{"quarantine_pods waiting": 2, "quarantine_changes_total changed": 0})
		w.mu.Lock()
		w.refusal = nil
		w.mu.Unlock()
		time.Sleep(urgentRetryMax)
		if got := w.marked(); !slices.Equal(got, some("a", 2)) {
			t.Errorf("expected both pods to refuse, got %v", got)
		}
		w.wantMetrics(map[string]float64{"quarantine_pods waiting": 0, "quarantine_changes_total changed": 2})
	})
}

// That a pod could not be read says nothing about it: it is tried again as well.
func TestQuarantineOutlastsTheAPIServer(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 2), func(w *world) {
		w.lead()
		away := func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refusal, w.hidden = err, err != nil
		}
		away(errors.New("the API server is away"))
		w.quarantine("/first")
		time.Sleep(20 * time.Second)
		w.wantMetrics(map[string]float64{"quarantine_pods waiting": 2})
		away(nil)
		time.Sleep(urgentRetryMax)
		if got := w.marked(); !slices.Equal(got, some("a", 2)) {
			t.Errorf("expected both pods to refuse, got %v", got)
		}
	})
}

// The list may change while pods are changed for an earlier one.
func TestQuarantineThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 2), func(w *world) {
		w.lead()
		w.mu.Lock()
		w.stale = true // replicas go by the earlier list
		w.mu.Unlock()
		w.quarantine("/first")
		time.Sleep(3 * time.Second)
		w.quarantine()
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		w.stale = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if got := w.marked(); len(got) > 0 {
			t.Errorf("expected nobody to refuse, got %v", got)
		}
		w.wantMetrics(map[string]float64{"quarantine_pods waiting": 0})
	})
}

// Who holds a quarantined identity, and who cannot refuse one, is told once.
func TestQuarantineIsTold(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 1), func(w *world) {
		w.lead()
		w.quarantine("/ns/a/*")
		time.Sleep(10 * time.Second)
		w.wantMetrics(map[string]float64{"quarantine_pods holding": 1})
		w.wantEvents("a/0 QuarantineHeld: the identity spiffe://example.org/ns/a/sa/default of this pod is quarantined")
		w.platform(func(p *intent.Platform) { p.InboundPort = 9443 })
		w.quarantine("/ns/a/*", "/first")
		time.Sleep(10 * time.Second)
		w.wantMetrics(map[string]float64{"quarantine_pods needs_new_pod": 1})
		w.wantEvents("a/0 QuarantineNotInForce: this pod does not refuse the quarantined identities")
		w.platform(func(*intent.Platform) {})
		time.Sleep(10 * time.Second)
		w.wantEvents()
		w.quarantine()
		time.Sleep(10 * time.Second)
		w.wantMetrics(map[string]float64{"quarantine_pods needs_new_pod": 0, "quarantine_pods holding": 0})
	})
}

// Pods do not all restart at once because an image waits for its turn as well.
func TestQuarantineRestartsNobody(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, some("a", 3), func(w *world) {
		w.lead()
		w.mu.Lock()
		w.injector.Platform.InPlace, w.injector.Platform.Sidecar.Image = true, "another"
		w.mu.Unlock()
		w.quarantine("/first")
		time.Sleep(debounce + 100*time.Millisecond)
		if got := w.marked(); !slices.Equal(got, some("a", 3)) {
			t.Errorf("expected all pods to refuse, got %v", got)
		}
		w.mu.Lock()
		with := 0
		for _, p := range w.pods {
			if p.Spec.InitContainers[0].Image == "another" {
				with++
			}
		}
		w.mu.Unlock()
		if with > 1 { // the first of the rollout
			t.Errorf("%d pods restart at once", with)
		}
		time.Sleep(time.Minute)
		for name, p := range w.pods {
			if p.Spec.InitContainers[0].Image != "another" {
				t.Errorf("%s has not followed", name)
			}
		}
	})
}

// Pods that do not answer hold up their own workload alone.
func TestRolloutDoesNotWaitForSlowAnswers(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, append(some("a", 1), some("b", 3)...), func(w *world) {
		w.lead()
		w.mu.Lock()
		w.hang = map[string]time.Duration{"a": time.Hour}
		w.mu.Unlock()
		w.allow("a", "/second")
		time.Sleep(10 * time.Second)
		w.want()
		w.rollout.plan.platform.proven = true // by what was before
		w.allow("b", "/second")
		time.Sleep(10 * time.Second)
		w.want(some("b", 3)...)
	})
}
