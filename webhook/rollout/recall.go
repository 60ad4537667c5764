package rollout

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// recalling bounds the time in which a new leader asks pods what the old one knew.
	recalling = 20 * time.Second
	// recalled bounds how many pods of a workload are asked, and recalledAll how many of a namespace.
	recalled    = 3
	recalledAll = 6
)

// recall is a task of a new leader.
type recall struct{}

func (recall) do(ctx context.Context, r *Rollout) error {
	r.recall(ctx)
	return nil
}

// recall learns what an earlier leader has learnt: where a pod rejects what a rollout gave it, the others are left
// alone from the start.
func (r *Rollout) recall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recalling)
	defer cancel()
	asked := map[string]int{} // by namespace, and by namespace/workload
	injector := r.config.Injector()
	err := r.config.Cluster.Each(ctx, "", func(pod *corev1.Pod) {
		if ctx.Err() != nil || asked[pod.Namespace] == recalledAll || !r.wasRefreshed(pod) {
			return
		}
		workload := pod.Namespace + "/" + workloadOf(pod)
		if asked[workload] == recalled {
			return
		}
		ns, err := r.config.Cluster.Namespace(ctx, pod.Namespace)
		if err != nil {
			return
		}
		if refresh, err := injector.Refresh(ns, pod); err != nil || refresh.Outdated || refresh.Wanted == "" {
			return
		}
		asked[pod.Namespace]++
		asked[workload]++
		why, rejects := r.rejects(ctx, pod)
		if !rejects {
			return
		}
		r.plan.Namespace(ns.Name, versionOf(ns))
		r.plan.Recall(podOf(pod), workloadOf(pod))
		r.config.Logger.Info(
			"a running pod rejects what its namespace and the platform are; others of its workload are not changed",
			"namespace", pod.Namespace, "workload", workloadOf(pod), "pod", pod.Name, "why", why)
	})
	if err != nil {
		r.config.Logger.Error(err, "looking at what an earlier leader has changed; what pods reject is found out again")
	}
}

// wasRefreshed says whether a rollout has changed a pod that can say what became of it.
func (r *Rollout) wasRefreshed(pod *corev1.Pod) bool {
	return pod.Annotations[intent.AnnotationRefresh] != "" && !ended(pod) && (serves(pod) || imageProblem(pod) != "")
}

// rejects says whether a pod rejects what it was given last, and what of it.
func (r *Rollout) rejects(ctx context.Context, pod *corev1.Pod) (why any, rejects bool) {
	if problem := imageProblem(pod); problem != "" {
		return problem, true
	}
	now, err := r.config.Envoys.Updates(ctx, pod)
	if err != nil {
		return nil, false
	}
	standing := Standing(now)
	return standing.Files, standing.Outcome == Rejected
}
