package rollout

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Cluster is what the rollout reads and writes at the API server.
type Cluster interface {
	// Each calls do with each injected pod of a namespace; of all, if none is named.
	Each(ctx context.Context, namespace string, do func(*corev1.Pod)) error
	Pod(ctx context.Context, name types.NamespacedName) (*corev1.Pod, error)
	Namespace(ctx context.Context, name string) (intent.Namespace, error)
	// Refresh gives a pod the value of [intent.AnnotationRefresh], and returns what it has become by that.
	Refresh(ctx context.Context, pod *corev1.Pod, value string) (*corev1.Pod, error)
}

// Envoys asks pods how they took their configuration.
type Envoys interface {
	// Updates fails with [ErrNoPage] for an Envoy that never says it.
	Updates(ctx context.Context, pod *corev1.Pod) (templates.Updates, error)
}

// Config is what a [Rollout] works with.
type Config struct {
	Injector func() inject.Injector // the one in force
	Cluster  Cluster
	Envoys   Envoys
	Rate     rate.Limit // pods a second; 0 is none
	Metrics  *Metrics
	Logger   logr.Logger
	// Calm is how long a new leader changes nothing: until replicas of the version before, which may know less, have
	// ended.
	Calm time.Duration
	// Event makes a Kubernetes event about an object, and another one that it has to do with.
	Event func(about, related runtime.Object, eventType string, why reason.Reason, note string)
}

// Rollout carries changes to running pods. It works only where Start runs, which is in the leading replica; what it
// is notified of before is kept until then.
type Rollout struct {
	config Config
	plan   *Plan
	queue  workqueue.TypedRateLimitingInterface[task]

	compared map[string]string // versions of namespaces with which their pods were compared
	wrote    map[Pod]string    // what the rollout made of pods, by [inject.ConfigDigest]
	stuck    podStates         // pods that cannot follow, by their state in the metrics
	awaited  map[Pod]*await    // pods whose outcome is awaited
	urgent   urgent
	first    first
	held     map[Pod]string // pods whose identity is quarantined, by the item of the list
	unsafe   map[Pod]bool   // pods that need a new one to refuse whom they should
	resynced bool           // all pods have been compared, or are about to be again
}

// New returns a rollout that does nothing but collect until it is started.
func New(c Config) *Rollout {
	return &Rollout{
		config:   c,
		plan:     NewPlan(c.Rate),
		queue:    newQueue(),
		compared: map[string]string{},
		wrote:    map[Pod]string{},
		stuck:    newPodStates(),
		awaited:  map[Pod]*await{},
		urgent:   newUrgent(),
		first:    newFirst(),
		held:     map[Pod]string{},
		unsafe:   map[Pod]bool{},
	}
}

const (
	// retryAfter is how long a pod is left alone that could not be changed.
	retryAfter = 10 * time.Second
	// askAfter is how long one is left alone that does not run yet.
	askAfter = time.Minute
)

// NeedLeaderElection says that one replica does it for all.
func (r *Rollout) NeedLeaderElection() bool { return true }

// Start implements the manager's Runnable. It can be called once.
func (r *Rollout) Start(ctx context.Context) error {
	stop := context.AfterFunc(ctx, r.queue.ShutDown)
	defer stop()
	if r.plan.zeroRate() {
		r.config.Logger.Info("running pods are not changed, but for a quarantine, because the rate is 0")
	}
	r.plan.Hold(time.Now().Add(r.config.Calm))
	r.queue.Add(resync{})
	r.queue.Add(recall{})
	for {
		t, shutdown := r.queue.Get()
		if shutdown {
			return nil
		}
		r.process(ctx, t)
	}
}

// process does a task, and then all that can be done at this time.
func (r *Rollout) process(ctx context.Context, t task) {
	defer r.queue.Done(t)
	if ctx.Err() != nil {
		return
	}
	if err := t.do(ctx, r); err != nil {
		r.config.Logger.Error(err, "following what changed; it is tried again")
		r.queue.AddRateLimited(t)
	} else {
		r.queue.Forget(t)
	}
	for ctx.Err() == nil {
		pod, ok := r.plan.Next(time.Now())
		if !ok {
			break
		}
		r.roll(ctx, pod)
	}
	r.config.Metrics.update(r)
	if wait, ok := r.plan.Wait(time.Now()); ok {
		r.queue.AddAfter(due{}, wait)
	}
}

// roll changes one pod, as the plan wants it. Its outcome comes later.
func (r *Rollout) roll(ctx context.Context, key Pod) {
	logger := r.config.Logger.WithValues("namespace", key.Namespace, "pod", key.Name)
	pod, ns, err := r.read(ctx, key)
	if err != nil {
		logger.Error(err, "reading a pod that is outdated, or its namespace; it is tried again")
		r.plan.Retry(key, false, time.Now().Add(retryAfter))
		return
	}
	if pod == nil {
		r.plan.Skip(key)
		r.forget(key)
		return
	}
	refresh, _ := r.consider(r.config.Injector(), ns, pod)
	if !refresh.Outdated || refresh.Urgent {
		r.plan.Skip(key)
		if refresh.Urgent {
			r.urge(ctx, pod, refresh)
		}
		return
	}
	if !serves(pod) && !r.plan.Proven(key.Namespace, workloadOf(pod)) && !r.plan.Rejects(key) {
		// From this one nothing could be learnt for the others.
		r.plan.Postpone(key, refresh.Image != "", time.Now().Add(askAfter))
		return
	}
	go func() { // others do not wait for a pod that is slow to answer
		before, silent := r.config.Envoys.Updates(ctx, pod)
		r.queue.Add(&asked{pod, refresh, before, silent})
	}()
}

// asked is a pod whose Envoy has been asked what it has read. It is a task: to change the pod.
type asked struct {
	pod    *corev1.Pod
	wanted inject.Refresh
	before templates.Updates
	silent error
}

func (t *asked) do(ctx context.Context, r *Rollout) error {
	key, refresh := podOf(t.pod), t.wanted
	logger := r.config.Logger.WithValues("namespace", key.Namespace, "pod", key.Name)
	after, err := r.refresh(ctx, t.pod, refresh)
	if err != nil {
		logger.Info("a running pod could not be changed; it is tried again", "error", err.Error())
		r.config.Metrics.refreshed(outcomeFailed)
		r.plan.Retry(key, refresh.Image != "", time.Now().Add(retryAfter))
		return nil
	}
	logger.Info("changed a running pod to what its namespace and the platform are",
		"config", refresh.Wanted, "image", refresh.Image)
	r.wrote[key] = inject.ConfigDigest(after)
	r.start(ctx, &await{
		pod:       after,
		before:    t.before,
		silent:    t.silent,
		image:     refresh.Image,
		container: containerOf(t.pod),
		ours:      true,
	})
	return nil
}

// read returns a pod and its namespace, or no pod when it is gone or has ended.
func (r *Rollout) read(ctx context.Context, key Pod) (*corev1.Pod, intent.Namespace, error) {
	pod, err := r.config.Cluster.Pod(ctx, key.NamespacedName)
	switch {
	case apierrors.IsNotFound(err), err == nil && (pod.UID != key.UID || ended(pod)):
		return nil, intent.Namespace{}, nil
	case err != nil:
		return nil, intent.Namespace{}, err
	}
	ns, err := r.config.Cluster.Namespace(ctx, key.Namespace)
	return pod, ns, err
}

// refresh brings about what is wanted of a pod.
func (r *Rollout) refresh(ctx context.Context, pod *corev1.Pod, wanted inject.Refresh) (*corev1.Pod, error) {
	after, err := r.config.Cluster.Refresh(ctx, pod, wanted.Value)
	if err != nil {
		// It may have been done, and its answer be lost: then the outcome counts as of any other change.
		now, unread := r.config.Cluster.Pod(ctx, podOf(pod).NamespacedName)
		if unread != nil || now.UID != pod.UID || now.Annotations[intent.AnnotationRefresh] != wanted.Value {
			return nil, err
		}
		after = now
	}
	if !wanted.Done(after) {
		// While one version of the injector takes another one's place, or the replicas have not all seen a change yet.
		return nil, errOtherReplica
	}
	return after, nil
}

// forget drops what is known of a pod that is gone.
func (r *Rollout) forget(pod Pod) {
	if a := r.awaited[pod]; a != nil {
		a.cancel()
		delete(r.awaited, pod)
	}
	r.plan.Gone(pod)
	r.stuck.forget(pod)
	r.first.forget(pod)
	for _, of := range []map[Pod]string{r.wrote, r.held} {
		delete(of, pod)
	}
	delete(r.unsafe, pod)
	delete(r.urgent.pods, pod)
	r.calmed()
}

// known are the pods of which something is remembered.
func (r *Rollout) known() []Pod {
	out := r.plan.Pods()
	out = slices.AppendSeq(out, maps.Keys(r.stuck.of))
	out = slices.AppendSeq(out, maps.Keys(r.held))
	out = slices.AppendSeq(out, maps.Keys(r.first.rejected))
	return slices.AppendSeq(out, maps.Keys(r.urgent.pods))
}

func podOf(pod *corev1.Pod) Pod {
	return Pod{types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, pod.UID}
}

// ended says whether a pod is past changes.
func ended(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || intent.Ended(pod)
}
