package golden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/rollout"
)

// envoys stand for those of pods that no kubelet runs: each has read its files when it is asked for the second time
// after they have changed, and refuses listeners with the peer "bad". The one of a liar refuses all.
type envoys struct {
	cluster rollout.Cluster
	mu      sync.Mutex
	written map[types.UID]string // digests of the files that it has, or will read next
	unread  map[types.UID]bool
	updates map[types.UID]templates.Updates
}

func (e *envoys) Updates(ctx context.Context, pod *corev1.Pod) (templates.Updates, error) {
	now, err := e.cluster.Pod(ctx, client.ObjectKeyFromObject(pod))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if digest := inject.ConfigDigest(now); e.written[pod.UID] != digest {
		e.written[pod.UID], e.unread[pod.UID] = digest, true
		return e.updates[pod.UID], nil
	}
	if e.unread[pod.UID] {
		e.unread[pod.UID] = false
		e.updates[pod.UID] = afterReading(now, e.updates[pod.UID])
	}
	return e.updates[pod.UID], nil
}

func afterReading(pod *corev1.Pod, before templates.Updates) templates.Updates {
	next := templates.Updates{}
	for _, file := range []string{templates.ListenersFile, templates.ClustersFile} {
		u := before[file]
		bad := strings.Contains(pod.Annotations[intent.AnnotationListeners], "/bad")
		if file == templates.ListenersFile && (bad || pod.Name == liar) {
			u.Refused++
		} else {
			u.Taken, u.Last = u.Taken+1, time.Now()
		}
		next[file] = u
	}
	return next
}

// liar comes before the other pods of its namespace.
const liar = "a-liar"

// podCache is that of a manager with the injector's own rights, which keeps of pods what the rollout looks at.
func podCache(t *testing.T, config *rest.Config) cache.Cache {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Impersonate = injectorItself
	injected, err := labels.Parse(intent.LabelIdentity)
	must(t, err)
	trim := func(object any) (any, error) { return inject.Trim(object.(*corev1.Pod)), nil }
	pods, err := cache.New(config, cache.Options{
		Scheme:   clientgoscheme.Scheme,
		ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {Label: injected, Transform: rollout.KeepConfig(trim)}},
	})
	must(t, err)
	return pods
}

// The leading replica, with its own rights, on a real API server with the real webhooks: pods follow their namespace,
// whatever a pod of another workload says of it; what one rejects stops its workload and is told, and so is what a pod
// rejects of its own.
func testRollout(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	injector := inject.Injector{Platform: platform, Version: "test"}
	s.use(injector)
	allow := func(peer string) {
		s.prepare(
			t,
			intent.Namespace{
				Name:        "rolling",
				Annotations: map[string]string{intent.AnnotationAllowedPeers: "/ns/rolling/" + peer},
			},
			peer,
		)
	}
	allow("first")
	replica := `, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: api, uid: "1", controller: true}]`
	for name, owned := range map[string]string{liar: "", "api-0": replica, "api-1": replica, "api-2": replica} {
		created, err := s.create(
			t,
			[]byte(fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: rolling%s,
			labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080"}}, spec: {containers: [{name: app, image: app}]}}`,
				name, owned)),
		)
		must(t, err)
		defer s.remove(t, created)
		runs := `{"status": {"podIP": "10.0.0.1", "initContainerStatuses": [{"name": "envoy", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
			"started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}`
		must(t, s.Status().Patch(t.Context(), decodedPod(created), client.RawPatch(types.MergePatchType, []byte(runs))))
	}
	own := s.asInjector(t)
	cluster := &rollout.APIServer{Cached: own, Direct: own, Writer: own, Configuration: "spire-injector"}
	s.eventually(t, "the injector's rights", func() error { return cluster.Each(t.Context(), "", func(*corev1.Pod) {}) })
	registry := prometheus.NewRegistry()
	metrics, err := rollout.NewMetrics(registry)
	must(t, err)
	told := make(chan string, 10)
	r := rollout.New(rollout.Config{
		Injector: func() inject.Injector { return injector }, Cluster: cluster,
		Envoys: &envoys{
			cluster: cluster,
			written: map[types.UID]string{},
			unread:  map[types.UID]bool{},
			updates: map[types.UID]templates.Updates{},
		},
		Rate: 10, Metrics: metrics, Logger: logr.Discard(), Calm: time.Millisecond,
		Event: func(about, _ runtime.Object, _ string, why reason.Reason, note string) {
			if pod, ok := about.(*corev1.Pod); ok {
				told <- pod.Name + " " + why.String() + ": " + note
			}
		},
	})
	pods := podCache(t, s.config)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Start(ctx) })
	running.Go(func() { _ = pods.Start(ctx) })
	running.Go(func() { _ = (&rollout.PodWatch{Cache: pods, Rollout: r}).Start(ctx) })
	defer running.Wait()
	defer stop()

	having := func(peer string) []string {
		var names []string
		must(t, cluster.Each(t.Context(), "rolling", func(pod *corev1.Pod) {
			if strings.Contains(pod.Annotations[intent.AnnotationAuthorization], "/ns/rolling/"+peer+"}") {
				names = append(names, pod.Name)
			}
		}))
		return names
	}
	await := func(peer string, want ...string) {
		t.Helper()
		s.eventually(t, "pods with the peer "+peer, func() error {
			if got := having(peer); !slices.Equal(got, want) {
				return fmt.Errorf("expected %v, got %v", want, got)
			}
			return nil
		})
	}
	hear := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if !strings.HasPrefix(got, want) {
				t.Errorf("expected %q, got %q", want, got)
			}
		case <-time.After(time.Minute):
			t.Errorf("%q was not told", want)
		}
	}
	// What became of a change is known a while after the change: until then the rollout takes another one for a part of
	// the first.
	known := func(outcome verdict.Outcome, want float64) {
		t.Helper()
		s.eventually(t, fmt.Sprintf("%g changes that are %s", want, outcome), func() error {
			if got := gauge(t, registry, "spire_injector_rollout_refreshes_total", string(outcome)); got != want {
				return fmt.Errorf("got %g", got)
			}
			return nil
		})
	}
	lies := "a-liar ConfigurationRejected"
	allow("second")
	r.NamespaceChanged("rolling")
	hear(lies) // which is nobody else's fault
	await("second", liar, "api-0", "api-1", "api-2")
	known(verdict.Taken, 3)
	allow("bad")
	r.NamespaceChanged("rolling")
	hear(lies)
	hear("api-0 ConfigurationRejected: Envoy refuses the configuration that this pod was given (listeners.yaml)")
	s.eventually(t, "a pause", func() error { // in which no pod is changed
		if gauge(t, registry, "spire_injector_rollout_paused", "") != 1 {
			return errors.New("the rollout goes on")
		}
		return nil
	})
	await("bad", liar, "api-0")
	allow("third")
	r.NamespaceChanged("rolling")
	hear(lies)
	await("third", liar, "api-0", "api-1", "api-2")
	known(verdict.Taken, 6)
	known(verdict.Rejected, 4) // the liar's three, and that of one honest pod

	pod, err := cluster.Pod(t.Context(), types.NamespacedName{Namespace: "rolling", Name: "api-2"})
	must(t, err)
	must(
		t,
		s.Patch(
			t.Context(),
			pod,
			client.RawPatch(
				types.MergePatchType,
				[]byte(`{"metadata": {"annotations": {"spiffe.io/allowed-peers": "/ns/rolling/bad"}}}`),
			),
		),
	)
	hear("api-2 ConfigurationRejected")

	// Events are written with the same rights.
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "rolling",
			Name:      "told",
		}, EventTime: metav1.NowMicro(), Type: corev1.EventTypeWarning,
		Reason: reason.ConfigurationRejected.String(), Action: "Refresh", ReportingController: "spire-injector", ReportingInstance: "x",
		Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: "rolling", Name: "api-2"},
	}
	must(t, own.Create(t.Context(), event))
}

// gauge is the value of a gauge or counter, which may have a label.
func gauge(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && (len(metric.GetLabel()) == 0 || metric.GetLabel()[0].GetValue() == label) {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s of %s", name, label)
	return 0
}
