package rollout

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// recalling bounds the time in which a new leader asks pods what the old one knew.
	recalling = 20 * time.Second
	// recalled bounds how many pods of a workload are asked, and recalledAll how many of a namespace.
	recalled    = 3
	recalledAll = 6
)

// recall is a task of a new leader: to learn what an earlier one has learnt. Where a pod rejects what a rollout gave
// it, the others are left alone from the start. Nothing waits for the answers, but the rollout, which does not begin
// before.
type recall struct{}

func (recall) do(ctx context.Context, r *Rollout) error {
	go func() { r.queue.Add(r.recall(ctx)) }()
	return nil
}

// rejecting are pods that reject what their namespace and the platform are. It is a task.
type rejecting struct{ pods []rejectingPod }

type rejectingPod struct {
	pod *corev1.Pod
	ns  intent.Namespace
	why any
}

func (t *rejecting) do(_ context.Context, r *Rollout) error {
	for _, p := range t.pods {
		r.plan.Namespace(p.ns.Name, versionOf(p.ns))
		r.plan.Recall(podOf(p.pod), workloadOf(p.pod))
		r.config.Logger.Info(
			"a running pod rejects what its namespace and the platform are; others of its workload are not changed",
			"namespace", p.pod.Namespace, "workload", workloadOf(p.pod), "pod", p.pod.Name, "why", p.why)
	}
	return nil
}

// recall asks some of the pods that a rollout has changed.
func (r *Rollout) recall(ctx context.Context) *rejecting {
	ctx, cancel := context.WithTimeout(ctx, recalling)
	defer cancel()
	found := &rejecting{}
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
		if why, rejects := r.rejects(ctx, pod); rejects {
			found.pods = append(found.pods, rejectingPod{pod, ns, why})
		}
	})
	if err != nil {
		r.config.Logger.Error(err, "looking at what an earlier leader has changed; what pods reject is found out again")
	}
	return found
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
	standing := verdict.Standing(now)
	return standing.Files, standing.Outcome == verdict.Rejected
}
