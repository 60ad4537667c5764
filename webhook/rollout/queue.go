package rollout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
)

const (
	// debounce is how long a change of a namespace or the platform waits: such changes come several at a time, and the
	// other replicas have to see them too.
	debounce = 500 * time.Millisecond
	// resyncAfter is the time between two comparisons of all pods, for changes that nobody notified of.
	resyncAfter = 30 * time.Minute
)

// task is one thing to do, in its turn. Equal tasks that wait are one. An error has it done again later.
type task interface {
	do(ctx context.Context, r *Rollout) error
}

func newQueue() workqueue.TypedRateLimitingInterface[task] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[task](retryAfter, 6*retryAfter),
		workqueue.TypedRateLimitingQueueConfig[task]{Name: "rollout"})
}

// PlatformChanged says that another platform file is in force.
func (r *Rollout) PlatformChanged() { r.queue.AddAfter(platformChanged{}, debounce) }

// NamespaceChanged says that something of a namespace has changed, perhaps nothing of ours.
func (r *Rollout) NamespaceChanged(name string) { r.queue.AddAfter(namespaceChanged{name}, debounce) }

// PodChanged says that the configuration of a running pod has changed to what [inject.ConfigDigest] says of it.
func (r *Rollout) PodChanged(pod Pod, config string) { r.queue.Add(podChanged{pod, config}) }

// PodMayHaveDrifted says that users' annotations of a running pod have changed and its configuration has not.
func (r *Rollout) PodMayHaveDrifted(pod Pod) { r.queue.Add(podMayHaveDrifted{pod}) }

// PodGone says that a pod is not there any more.
func (r *Rollout) PodGone(pod Pod) { r.queue.Add(podGone{pod}) }

// resync compares all pods with what they should be, now and again.
type resync struct{}

func (t resync) do(ctx context.Context, r *Rollout) error {
	r.resynced = true
	r.queue.AddAfter(t, resyncAfter+rand.N(resyncAfter/10)) //nolint:gosec // replicas and clusters not all at once
	return r.compare(ctx, "")
}

type platformChanged struct{}

func (platformChanged) do(_ context.Context, r *Rollout) error {
	r.plan.PlatformChanged()
	r.queue.Add(resync{})
	return nil
}

type namespaceChanged struct{ name string }

func (t namespaceChanged) do(ctx context.Context, r *Rollout) error {
	if !r.resynced { // what a new leader collected before, it is about to compare as a whole
		return nil
	}
	ns, err := r.config.Cluster.Namespace(ctx, t.name)
	switch {
	case apierrors.IsNotFound(err):
		r.plan.NamespaceGone(t.name)
		delete(r.compared, t.name)
	case err != nil:
		return fmt.Errorf("reading namespace %s: %w", t.name, err)
	case r.compared[t.name] == versionOf(ns):
		return nil // something of another tool's has changed
	default:
		r.compared[t.name] = versionOf(ns)
	}
	if err := r.compare(ctx, t.name); err != nil {
		delete(r.compared, t.name) // so that the next try compares
		return err
	}
	return nil
}

type podChanged struct {
	pod    Pod
	config string
}

func (t podChanged) do(ctx context.Context, r *Rollout) error {
	switch a := r.awaited[t.pod]; {
	case r.wrote[t.pod] == t.config: // the rollout's own change, whose outcome is awaited already
	case a != nil:
		a.changedAgain = true
	default:
		r.observe(ctx, t.pod, nil)
	}
	return nil
}

type podMayHaveDrifted struct{ pod Pod }

func (t podMayHaveDrifted) do(ctx context.Context, r *Rollout) error {
	if !r.resynced { // a new leader is about to compare all pods
		return nil
	}
	pod, ns, err := r.read(ctx, t.pod)
	if err != nil {
		return fmt.Errorf("reading a pod whose annotations changed, or its namespace: %w", err)
	}
	if pod == nil {
		return nil
	}
	if refresh, _ := r.consider(r.config.Injector(), ns, pod); refresh.Outdated {
		r.plan.Want(t.pod, workloadOf(pod), refresh.Image != "")
	}
	return nil
}

type podGone struct{ pod Pod }

func (t podGone) do(_ context.Context, r *Rollout) error {
	r.forget(t.pod)
	return nil
}

// due is the time at which the plan may have a pod.
type due struct{}

func (due) do(context.Context, *Rollout) error { return nil }
