package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// A pod whose Envoy rejects the first configuration that it is given mostly waits in Init for ever, and nothing but
// Envoy's log says so. So each new pod is asked how its Envoy took it: some time after it got a node, and again while
// its sidecar has not started. No change of other pods depends on the answer.

const (
	// firstAfter is when a new pod is asked, and the time between two questions. Two of them are below the minute within
	// which a rejection is reported.
	firstAfter = 20 * time.Second
	// maxFirst bounds how many new pods are asked at a time; the others are asked later.
	maxFirst = 100
)

// first are new pods.
type first struct {
	asking   map[Pod]bool
	rejected map[Pod]string // those that reject what they were given first, by namespace/workload
}

func newFirst() first { return first{asking: map[Pod]bool{}, rejected: map[Pod]string{}} }

func (f first) forget(pod Pod) {
	delete(f.asking, pod)
	delete(f.rejected, pod)
}

// reported says whether a pod of the workload has been reported already: its replicas are alike.
func (f first) reported(workload string) bool {
	for _, of := range f.rejected {
		if of == workload {
			return true
		}
	}
	return false
}

// PodStarts says that a new pod has a node.
func (r *Rollout) PodStarts(pod Pod) { r.queue.AddAfter(podStarts{pod}, firstAfter) }

type podStarts struct{ pod Pod }

func (t podStarts) do(ctx context.Context, r *Rollout) error {
	if r.first.asking[t.pod] {
		return nil
	}
	if len(r.first.asking) >= maxFirst {
		r.PodStarts(t.pod)
		return nil
	}
	r.first.asking[t.pod] = true
	go func() { r.queue.Add(r.askFirst(ctx, t.pod)) }()
	return nil
}

// firstAnswer is that of a new pod. It is a task.
type firstAnswer struct {
	key     Pod
	pod     *corev1.Pod // nil: it is gone, or has ended
	again   bool        // it has to be asked again
	verdict verdict.Verdict
}

// askFirst reads a new pod and asks its Envoy.
func (r *Rollout) askFirst(ctx context.Context, key Pod) *firstAnswer {
	pod, err := r.config.Cluster.Pod(ctx, key.NamespacedName)
	switch {
	case apierrors.IsNotFound(err), err == nil && (pod.UID != key.UID || ended(pod)):
		return &firstAnswer{key: key}
	case err != nil:
		return &firstAnswer{key: key, again: true}
	}
	out := &firstAnswer{key: key, pod: pod, again: !started(pod)}
	if !serves(pod) {
		return out
	}
	// One that waits for its SVID does not answer.
	if now, err := r.config.Envoys.Updates(ctx, pod); err == nil {
		out.verdict = verdict.First(now)
	}
	return out
}

func (a *firstAnswer) do(_ context.Context, r *Rollout) error {
	if !r.first.asking[a.key] {
		return nil // the pod is gone
	}
	delete(r.first.asking, a.key)
	if a.verdict.Outcome == verdict.Rejected {
		workload := a.key.Namespace + "/" + workloadOf(a.pod)
		known := r.first.reported(workload)
		r.first.rejected[a.key] = workload
		if !known {
			r.reportFirst(a)
		}
		return nil
	}
	if a.again {
		r.PodStarts(a.key)
	}
	return nil
}

func (r *Rollout) reportFirst(a *firstAnswer) {
	note := fmt.Sprintf("Envoy rejects the first configuration that this pod was given (%s), so that it works without it, or does not "+
		"start; why is in the log of its container %s; change the annotations that are meant there, in the pod template",
		strings.Join(a.verdict.Files, ", "), intent.SidecarName)
	r.config.Logger.Error(errRejected, note, "namespace", a.key.Namespace, "pod", a.key.Name,
		"reason", reason.ConfigurationRejected, "files", a.verdict.Files)
	r.tell(a.pod, reason.ConfigurationRejected, note)
}

// started says whether a pod's sidecar has passed its startup probe.
func started(pod *corev1.Pod) bool {
	status, ok := sidecarStatus(pod)
	return ok && status.Started != nil && *status.Started
}

// starts says whether a pod has a node and does not run yet.
func starts(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && pod.Status.Phase == corev1.PodPending
}
