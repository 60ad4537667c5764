package golden

import (
	"context"
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/rollout"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook"
)

// envoys stand for those of pods that no kubelet runs: each has read its files a while after they have changed, and refuses listeners
// with the peer "bad".
type envoys struct {
	cluster rollout.Cluster
	mu      sync.Mutex
	read    map[types.UID]string
	updates map[types.UID]templates.Updates
}

func (e *envoys) Updates(ctx context.Context, pod *corev1.Pod) (templates.Updates, error) {
	now, err := e.cluster.Pod(ctx, client.ObjectKeyFromObject(pod))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if config := rollout.Config(now); e.read[pod.UID] != config {
		e.read[pod.UID] = config
		next := templates.Updates{}
		for _, file := range []string{templates.ListenersFile, templates.ClustersFile} {
			u := e.updates[pod.UID][file]
			if file == templates.ListenersFile && strings.Contains(now.Annotations[webhook.AnnotationListeners], "/bad") {
				u.Refused++
			} else {
				u.Taken, u.Last = u.Taken+1, time.Now()
			}
			next[file] = u
		}
		e.updates[pod.UID] = next
	}
	return e.updates[pod.UID], nil
}

// The leading replica, with its own rights, on a real API server with the real webhooks: pods follow their namespace, what one rejects
// stops there and is told, and so is what a pod rejects of its own.
func TestRolloutOnAPIServer(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	platform, err := webhook.ParsePlatform(defaultPlatform)
	must(t, err)
	injector := webhook.Injector{Platform: platform, Version: "test"}
	s.use(injector)
	allow := func(peer string) {
		s.prepare(t, webhook.Namespace{Name: "rolling", Annotations: map[string]string{webhook.AnnotationAllowedPeers: "/ns/rolling/" + peer}}, peer)
	}
	allow("first")
	for i := range 3 {
		created, err := s.create(t, []byte(fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: api-%d, namespace: rolling,
			labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080"}}, spec: {containers: [{name: app, image: app}]}}`, i)))
		must(t, err)
		defer s.remove(t, created)
		runs := `{"status": {"podIP": "10.0.0.1", "initContainerStatuses": [{"name": "envoy", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
			"started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}`
		must(t, s.Status().Patch(t.Context(), decodedPod(created), client.RawPatch(types.MergePatchType, []byte(runs))))
	}
	own := s.asInjector(t)
	cluster := &rollout.APIServer{Cached: own, Direct: own, Writer: own, Configuration: "spire-injector"}
	s.eventually(t, "the injector's rights", func() error { return cluster.Each(t.Context(), "", func(*corev1.Pod) {}) })
	metrics, err := rollout.NewMetrics(prometheus.NewRegistry())
	must(t, err)
	told := make(chan string, 10)
	r := &rollout.Rollout{
		Injector: func() webhook.Injector { return injector }, Cluster: cluster,
		Envoys: &envoys{cluster: cluster, read: map[types.UID]string{}, updates: map[types.UID]templates.Updates{}},
		Plan:   rollout.NewPlan(10), Metrics: metrics, Logger: logr.Discard(), Calm: time.Millisecond,
		Tell: func(pod *corev1.Pod, reason, note string) { told <- pod.Name + " " + reason + ": " + note },
	}
	config := rest.CopyConfig(s.config)
	config.Impersonate = injectorItself
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Start(ctx) })
	running.Go(func() { _ = (&rollout.PodWatch{Config: config, Rollout: r}).Start(ctx) })
	defer running.Wait()
	defer stop()

	having := func(peer string) []string {
		var names []string
		must(t, cluster.Each(t.Context(), "rolling", func(pod *corev1.Pod) {
			if strings.Contains(pod.Annotations[webhook.AnnotationAuthorization], "/ns/rolling/"+peer+`"`) {
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
	allow("second")
	r.NamespaceChanged("rolling")
	await("second", "api-0", "api-1", "api-2")
	allow("bad")
	r.NamespaceChanged("rolling")
	hear("api-0 ConfigurationRejected: Envoy refuses the configuration that this pod was given (listeners.json)")
	time.Sleep(time.Second)
	await("bad", "api-0")
	allow("third")
	r.NamespaceChanged("rolling")
	await("third", "api-0", "api-1", "api-2")

	pod, err := cluster.Pod(t.Context(), types.NamespacedName{Namespace: "rolling", Name: "api-2"})
	must(t, err)
	must(t, s.Patch(t.Context(), pod, client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"spiffe.io/allowed-peers": "/ns/rolling/bad"}}}`))))
	hear("api-2 ConfigurationRejected")

	// Events are written with the same rights.
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "rolling", Name: "told"}, EventTime: metav1.NowMicro(), Type: corev1.EventTypeWarning,
		Reason: rollout.ReasonConfigurationRejected, Action: "Refresh", ReportingController: "spire-injector", ReportingInstance: "x",
		Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: "rolling", Name: "api-2"},
	}
	must(t, own.Create(t.Context(), event))
}
