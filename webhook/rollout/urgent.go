package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// A quarantine goes to running pods at once: no pod is tried first, none waits for another one's outcome, no rate, no
// pause and no calm of a new leader holds it back. It goes only to pods whose lists would admit the identity.

const (
	// urgentInFlight is how many pods are changed at a time: the API server and our own webhook work for each.
	urgentInFlight = 16
	// urgentRetry and urgentRetryMax are the first and the longest pause after a pod could not be changed.
	urgentRetry    = 500 * time.Millisecond
	urgentRetryMax = 30 * time.Second
)

// urgent are the pods that do not refuse yet whom they should, each with how often changing it has failed.
type urgent struct {
	pods    map[Pod]int
	slots   chan struct{}
	began   time.Time
	changed int // since then
}

func newUrgent() urgent {
	return urgent{pods: map[Pod]int{}, slots: make(chan struct{}, urgentInFlight)}
}

// urge changes a pod as soon as there is a place.
func (r *Rollout) urge(ctx context.Context, pod *corev1.Pod, wanted inject.Refresh) {
	key := podOf(pod)
	r.plan.Forget(key)
	if _, known := r.urgent.pods[key]; known {
		return // what has changed meanwhile is seen when that is done
	}
	if len(r.urgent.pods) == 0 {
		r.urgent.began, r.urgent.changed = time.Now(), 0
	}
	r.urgent.pods[key] = 0
	r.urgeOnce(ctx, pod, wanted)
}

func (r *Rollout) urgeOnce(ctx context.Context, pod *corev1.Pod, wanted inject.Refresh) {
	r.wrote[podOf(pod)] = wanted.Wanted // before the watch shows it
	go func() {
		select {
		case r.urgent.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		after, err := r.refresh(ctx, pod, wanted)
		<-r.urgent.slots
		r.queue.Add(&urged{pod, after, err})
	}()
}

// urged is a pod that was changed, or could not be. It is a task.
type urged struct {
	pod   *corev1.Pod
	after *corev1.Pod
	err   error
}

func (t *urged) do(ctx context.Context, r *Rollout) error {
	key := podOf(t.pod)
	tries, waits := r.urgent.pods[key]
	if !waits {
		return nil // the pod is gone
	}
	logger := r.config.Logger.WithValues("namespace", key.Namespace, "pod", key.Name, "reason", reason.QuarantineChanged)
	if t.err == nil {
		logger.Info("a running pod was given whom to refuse")
		r.config.Metrics.quarantined(outcomeChanged)
		r.wrote[key] = inject.ConfigDigest(t.after)
		r.start(ctx, &await{pod: t.after, urgent: true})
		r.urgent.changed++
		ns, err := r.config.Cluster.Namespace(ctx, key.Namespace)
		r.urgeAgain(ctx, key, t.after, ns, err) // the list may have changed meanwhile
	} else {
		logger.Error(t.err, "a running pod could not be given whom to refuse; it is tried again")
		r.config.Metrics.quarantined(outcomeFailed)
		r.urgent.pods[key] = tries + 1
		r.queue.AddAfter(&urgeAgain{key}, min(urgentRetry<<min(tries, 10), urgentRetryMax))
	}
	return nil
}

// urgeAgain is a pod that waits to be changed again. It is a task.
type urgeAgain struct{ pod Pod }

func (t *urgeAgain) do(ctx context.Context, r *Rollout) error {
	if _, waits := r.urgent.pods[t.pod]; !waits {
		return nil
	}
	pod, ns, err := r.read(ctx, t.pod)
	r.urgeAgain(ctx, t.pod, pod, ns, err)
	return nil
}

// urgeAgain has a pod changed again if it does not refuse whom it should, and is done with it otherwise. What could not
// be read is read again.
func (r *Rollout) urgeAgain(ctx context.Context, key Pod, pod *corev1.Pod, ns intent.Namespace, err error) {
	if err != nil {
		r.queue.AddAfter(&urgeAgain{key}, urgentRetry)
		return
	}
	if pod != nil {
		switch refresh, _ := r.consider(r.config.Injector(), ns, pod); {
		case len(refresh.NewPod) > 0:
		case refresh.Urgent:
			r.urgeOnce(ctx, pod, refresh)
			return
		case refresh.Outdated:
			r.plan.Want(key, workloadOf(pod), refresh.Image != "")
		}
	}
	delete(r.urgent.pods, key)
	r.calmed()
}

// calmed says how long it took when no pod waits any more.
func (r *Rollout) calmed() {
	if len(r.urgent.pods) == 0 && r.urgent.changed > 0 {
		r.config.Logger.Info("every running pod that could be changed refuses whom the platform file says",
			"reason", reason.QuarantineChanged, "pods", r.urgent.changed, "seconds", time.Since(r.urgent.began).Seconds())
		r.urgent.changed = 0
	}
}

// holds says of a running pod that its identity is quarantined, once for each item of the list.
func (r *Rollout) holds(injector inject.Injector, pod *corev1.Pod) {
	key := podOf(pod)
	id, err := spiffeid.FromString(inject.StatusOf(pod).SPIFFEID)
	item, is := injector.Platform.Quarantined(id)
	if err != nil || !is {
		delete(r.held, key)
		return
	}
	if r.held[key] == item.String() {
		return
	}
	r.held[key] = item.String()
	r.tell(pod, reason.QuarantineHeld, fmt.Sprintf(
		"the identity %s of this pod is quarantined, by %s in the platform file: injected pods refuse it, and no new pod gets "+
			"it; delete the pod, or take the identity off the list", id, item))
}

// cannotRefuse says of a running pod that it needs a new one to refuse whom it should, once.
func (r *Rollout) cannotRefuse(pod *corev1.Pod, why string) {
	key := podOf(pod)
	if r.unsafe[key] {
		return
	}
	r.unsafe[key] = true
	r.tell(pod, reason.QuarantineNotInForce, "this pod does not refuse the quarantined identities of the platform file, because a "+
		"running pod cannot take what else would change: delete the pod, so that a new one takes its place ("+why+")")
}
