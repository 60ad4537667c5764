package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook"
)

// Cluster is what the rollout reads and writes at the API server.
type Cluster interface {
	// Each calls do with each injected pod of a namespace; of all, if none is named.
	Each(ctx context.Context, namespace string, do func(*corev1.Pod)) error
	Pod(ctx context.Context, name types.NamespacedName) (*corev1.Pod, error)
	Namespace(ctx context.Context, name string) (webhook.Namespace, error)
	// Refresh gives a pod the value of [webhook.AnnotationRefresh], and returns what it has become by that.
	Refresh(ctx context.Context, pod *corev1.Pod, value string) (*corev1.Pod, error)
}

// Envoys asks pods how they took their configuration.
type Envoys interface {
	// Updates fails with [ErrNoPage] for an Envoy that never tells.
	Updates(ctx context.Context, pod *corev1.Pod) (templates.Updates, error)
}

// Rollout carries changes to running pods. It works only where Start runs, which is in the leading replica; what it is told before
// is kept until then.
type Rollout struct {
	Injector func() webhook.Injector // the one in force
	Cluster  Cluster
	Envoys   Envoys
	Plan     *Plan
	Metrics  *Metrics
	Logger   logr.Logger
	// Calm is how long a new leader changes nothing: until replicas of the version before, which may know less, have ended.
	Calm time.Duration
	// Tell makes a Kubernetes event of what a pod rejects, about the pod and about its owner.
	Tell func(pod *corev1.Pod, reason, note string)

	inbox   inbox
	watched atomic.Int32      // pods that others have changed, and whose outcome is awaited
	walked  map[string]string // versions of namespaces with which their pods were compared
	wrote   map[Pod]string    // what the rollout made of pods, by [Config]
	stuck   map[Pod]string    // pods that cannot follow, by their state in the metrics
}

const (
	// settle is how long a change is left alone: its sort come several at a time, and the other replicas have to see it too.
	settle = 500 * time.Millisecond
	// retryAfter is how long a pod is left alone that could not be changed.
	retryAfter = 10 * time.Second
	// askAfter is how long one is left alone that does not run yet.
	askAfter = time.Minute
	// recalling bounds the time in which a new leader asks pods what the old one knew.
	recalling = 20 * time.Second
	// everything is the time between two looks at all pods, for changes that nobody told of.
	everything = 30 * time.Minute
)

// NeedLeaderElection says that one replica does it for all.
func (r *Rollout) NeedLeaderElection() bool { return true }

// Start implements the manager's Runnable.
func (r *Rollout) Start(ctx context.Context) error {
	r.stuck, r.wrote, r.walked = map[Pod]string{}, map[Pod]string{}, map[string]string{}
	if r.Plan.Paused() {
		r.Logger.Info("running pods are not changed, because the rate is 0")
	}
	r.Plan.Hold(time.Now().Add(r.Calm))
	r.recall(ctx)
	r.inbox.tell(func(m *mail) { m.all = true })
	backstop := time.NewTicker(everything + rand.N(everything/10)) //nolint:gosec // replicas and clusters not all at once
	defer backstop.Stop()
	for {
		wait := r.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.inbox.ready():
		case <-backstop.C:
			r.inbox.tell(func(m *mail) { m.all = true })
		case <-time.After(wait):
		}
	}
}

// idle is how long to sleep when there is nothing to wait for.
const idle = time.Minute

// step does all that can be done at this time, and returns how long there is nothing more to do.
func (r *Rollout) step(ctx context.Context) time.Duration {
	m, settling := r.inbox.take(time.Now())
	for _, done := range m.outcomes {
		r.learn(done)
	}
	for _, pod := range m.gone {
		r.gone(pod)
	}
	if m.platform {
		r.Plan.PlatformChanged()
	}
	if m.all || m.platform {
		r.walk(ctx, "")
	} else {
		for name := range m.namespaces {
			r.follow(ctx, name)
		}
	}
	for pod, config := range m.changed {
		if !r.Plan.Flies(pod) && r.wrote[pod] != config {
			r.watch(ctx, pod)
		}
	}
	for ctx.Err() == nil {
		pod, ok := r.Plan.Next(time.Now())
		if !ok {
			break
		}
		r.roll(ctx, pod)
	}
	r.Metrics.show(r.Plan, r.stuck)
	wait, ok := r.Plan.Wait(time.Now())
	if !ok {
		wait = idle
	}
	if settling > 0 {
		wait = min(wait, settling)
	}
	return wait
}

// follow looks at the pods of a namespace that has changed.
func (r *Rollout) follow(ctx context.Context, name string) {
	ns, err := r.Cluster.Namespace(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		r.Plan.NamespaceGone(name)
		delete(r.walked, name)
	case err != nil:
		r.Logger.Error(err, "reading a namespace", "namespace", name)
		return
	case r.walked[name] == versionOf(ns):
		return // something of another tool's has changed
	default:
		r.walked[name] = versionOf(ns)
	}
	r.walk(ctx, name)
}

// versionOf tells one state of what pods follow in their namespace from another.
func versionOf(ns webhook.Namespace) string {
	ours := func(all map[string]string) map[string]string {
		out := map[string]string{}
		for key, value := range all {
			if strings.HasPrefix(key, webhook.Prefix) {
				out[key] = value
			}
		}
		return out
	}
	text, err := json.Marshal([]map[string]string{ours(ns.Labels), ours(ns.Annotations)})
	if err != nil {
		return "" // cannot be: there is nothing but strings
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// walk compares pods with what they should be: those of a namespace, or all.
func (r *Rollout) walk(ctx context.Context, namespace string) {
	injector := r.Injector()
	namespaces := map[string]*webhook.Namespace{}
	seen := map[Pod]bool{}
	cannot := map[string]int{} // pods that cannot follow, by namespace
	err := r.Cluster.Each(ctx, namespace, func(pod *corev1.Pod) {
		ns, known := namespaces[pod.Namespace]
		if !known {
			if found, err := r.Cluster.Namespace(ctx, pod.Namespace); err == nil {
				ns = &found
				r.walked[pod.Namespace] = versionOf(found)
			}
			namespaces[pod.Namespace] = ns
		}
		if ended(pod) {
			return
		}
		seen[podOf(pod)] = true
		if ns == nil {
			return // it is going, or cannot be read at the moment
		}
		refresh, why := r.consider(injector, *ns, pod)
		if refresh.Outdated {
			r.Plan.Want(podOf(pod), refresh.Image != "")
		}
		if why == "" {
			return
		}
		if cannot[pod.Namespace]++; cannot[pod.Namespace] == 1 {
			r.Logger.Info("a pod cannot follow its namespace and the platform; others of its namespace are only counted",
				"namespace", pod.Namespace, "pod", pod.Name, "state", r.stuck[podOf(pod)], "reason", why)
		}
	})
	if err != nil {
		r.Logger.Error(err, "looking at running pods; it is tried again", "namespace", namespace)
		r.inbox.tell(func(m *mail) { m.all = true })
		pause(ctx, retryAfter)
		return
	}
	for _, pod := range r.known() {
		if !seen[pod] && (namespace == "" || pod.Namespace == namespace) {
			r.gone(pod)
		}
	}
	if namespace == "" {
		r.Plan.Compared()
	}
	r.Logger.V(1).Info("compared running pods with what they should be", "namespace", namespace, "pods", len(seen), "outdated", r.Plan.Outdated(), "cannotFollow", len(r.stuck))
}

// known are the pods of which something is remembered.
func (r *Rollout) known() []Pod {
	out := r.Plan.Pods()
	for pod := range r.stuck {
		out = append(out, pod)
	}
	return out
}

func (r *Rollout) gone(pod Pod) {
	r.Plan.Gone(pod)
	delete(r.stuck, pod)
	delete(r.wrote, pod)
}

// recalled bounds how many pods of a namespace are asked at the start how they are.
const recalled = 3

// recall learns what an earlier leader has learnt: where a pod rejects what a rollout gave it, the others are spared from the start.
func (r *Rollout) recall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recalling)
	defer cancel()
	asked := map[string]int{}
	injector := r.Injector()
	err := r.Cluster.Each(ctx, "", func(pod *corev1.Pod) {
		if ctx.Err() != nil || pod.Annotations[webhook.AnnotationRefresh] == "" || asked[pod.Namespace] == recalled || ended(pod) || !serves(pod) {
			return
		}
		ns, err := r.Cluster.Namespace(ctx, pod.Namespace)
		if err != nil {
			return
		}
		if refresh, err := injector.Refresh(ns, pod); err != nil || refresh.Outdated || refresh.Wanted == "" {
			return
		}
		asked[pod.Namespace]++
		now, err := r.Envoys.Updates(ctx, pod)
		if err != nil || Standing(now).Outcome != Rejected {
			return
		}
		r.Plan.Namespace(ns.Name, versionOf(ns))
		r.Plan.Recall(podOf(pod))
		r.Logger.Info("a running pod rejects what its namespace and the platform are; others of its namespace are not changed",
			"namespace", pod.Namespace, "pod", pod.Name, "files", Standing(now).Files)
	})
	if err != nil {
		r.Logger.Error(err, "looking at what an earlier leader has changed; what pods reject is found out anew")
	}
}

// consider notes what a pod is, and says why it cannot follow, if it cannot.
func (r *Rollout) consider(injector webhook.Injector, ns webhook.Namespace, pod *corev1.Pod) (webhook.Refresh, string) {
	key := podOf(pod)
	r.Plan.Namespace(ns.Name, versionOf(ns))
	refresh, err := injector.Refresh(ns, pod)
	delete(r.stuck, key)
	switch {
	case err != nil:
		r.Plan.Forget(key)
		r.stuck[key] = stateInvalid
		return webhook.Refresh{}, err.Error()
	case len(refresh.NewPod) > 0:
		r.Plan.Forget(key)
		r.stuck[key] = stateNeedsNewPod
		return refresh, refresh.NewPod[0].String()
	case !refresh.Outdated:
		r.Plan.Forget(key)
	}
	return refresh, ""
}

// roll changes one pod. What becomes of it is learnt later.
func (r *Rollout) roll(ctx context.Context, key Pod) {
	logger := r.Logger.WithValues("namespace", key.Namespace, "pod", key.Name)
	pod, err := r.Cluster.Pod(ctx, key.NamespacedName)
	switch {
	case apierrors.IsNotFound(err), err == nil && (pod.UID != key.UID || ended(pod)):
		r.Plan.Skip(key)
		r.gone(key)
		return
	case err != nil:
		logger.Error(err, "reading a pod that is outdated; it is tried again")
		r.Plan.Retry(key, false, time.Now().Add(retryAfter))
		return
	}
	ns, err := r.Cluster.Namespace(ctx, key.Namespace)
	if err != nil {
		logger.Error(err, "reading the namespace of a pod that is outdated; it is tried again")
		r.Plan.Retry(key, false, time.Now().Add(retryAfter))
		return
	}
	refresh, _ := r.consider(r.Injector(), ns, pod)
	if !refresh.Outdated {
		r.Plan.Skip(key)
		return
	}
	if !serves(pod) && !r.Plan.Proven(key.Namespace) && !r.Plan.Rejects(key) {
		// From this one nothing could be learnt for the others.
		r.Plan.Skip(key)
		r.Plan.Retry(key, refresh.Image != "", time.Now().Add(askAfter))
		return
	}
	before, asked := r.Envoys.Updates(ctx, pod)
	after, err := r.Cluster.Refresh(ctx, pod, refresh.Value)
	if err == nil && webhook.ConfigDigest(after) != refresh.Wanted {
		// While one version of the injector takes another one's place, or the replicas have not all seen a change yet.
		err = errOtherReplica
	}
	if err != nil {
		logger.Info("a running pod could not be changed; it is tried again", "error", err.Error())
		r.Metrics.refreshed(outcomeFailed)
		r.Plan.Retry(key, refresh.Image != "", time.Now().Add(retryAfter))
		return
	}
	logger.Info("changed a running pod to what its namespace and the platform are", "config", refresh.Wanted, "image", refresh.Image)
	r.wrote[key] = Config(after)
	look := look{pod: after, before: before, image: refresh.Image, container: containerOf(pod), ours: true}
	if asked != nil {
		look.silent = asked
	}
	go func() { r.await(ctx, look) }()
}

// learn takes note of an outcome, and reports what is rejected.
func (r *Rollout) learn(done finished) {
	key := podOf(done.pod)
	r.Plan.Done(key, done.verdict.Outcome)
	if done.ours {
		r.Metrics.refreshed(string(done.verdict.Outcome))
	}
	logger := r.Logger.WithValues("namespace", key.Namespace, "pod", key.Name, "byRollout", done.ours)
	switch done.verdict.Outcome {
	case Rejected:
		note := done.note(r.Plan)
		logger.Error(errRejected, note, "files", done.verdict.Files, "stoppedNamespaces", r.Plan.StoppedNamespaces(), "stoppedAll", r.Plan.Stopped())
		r.Tell(done.pod, ReasonConfigurationRejected, note)
	case Unknown:
		logger.Info("a running pod was changed, and does not say what became of it", "error", done.why)
	case Taken, Pending:
		logger.V(1).Info("a running pod took its configuration")
	}
}

func podOf(pod *corev1.Pod) Pod {
	return Pod{types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, pod.UID}
}

// ended says whether a pod is past changes.
func ended(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
