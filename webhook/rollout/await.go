package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// ErrNoPage is of an Envoy that was started with a bootstrap of before there was a page to ask for.
var ErrNoPage = errors.New("this pod's Envoy does not say how it took its configuration; a new pod's will")

var (
	errRejected     = errors.New("a running pod rejects its configuration")
	errOtherReplica = errors.New(
		"the replica that answered goes by another namespace, platform file or version than this one")
	errGone = errors.New("the pod is gone")
)

// await is a changed pod whose outcome is awaited.
type await struct {
	pod       *corev1.Pod       // as it is after the change
	before    templates.Updates // what its Envoy said before it read the files; nil: it has to be asked
	silent    error             // why that is not known
	image     string            // empty: Envoy goes on
	container string            // that Envoy ran in before the change
	ours      bool              // changed by the rollout
	urgent    bool              // changed for a quarantine

	cancel       context.CancelFunc
	changedAgain bool // somebody changed the pod meanwhile
}

// outcome is what became of a changed pod. It is a task, done when it is known.
type outcome struct {
	of      *await
	verdict verdict.Verdict
	why     string            // what was seen last, of what is rejected or unknown
	last    templates.Updates // what Envoy said last, if it was asked
	gone    bool              // there is nothing to know any more
}

// pauses between two looks at a changed pod. The kubelet writes the files within a second; all together are well
// below the minute within which a rejection is reported.
var pauses = []time.Duration{
	300 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second, 2 * time.Second, 2 * time.Second,
	3 * time.Second, 5 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second,
}

const (
	// maxObserved bounds how many pods are looked at, at a time, that others than the rollout have changed.
	maxObserved = 100
	// startLimit is how long a sidecar may be down for its new image. The kubelet does not say why one does not start
	// that ended well before (its state stays "terminated"), so that time has to tell.
	startLimit = 30 * time.Second
)

// observe learns what becomes of a pod that somebody else has changed. Its Envoy is asked what it has read before,
// unless it was.
func (r *Rollout) observe(ctx context.Context, key Pod, before templates.Updates) {
	observed := 0
	for _, a := range r.awaited {
		if !a.ours && !a.urgent {
			observed++
		}
	}
	logger := r.config.Logger.WithValues("namespace", key.Namespace, "pod", key.Name)
	if observed >= maxObserved {
		logger.Info("too many pods were changed at a time to see what becomes of each")
		return
	}
	pod, err := r.config.Cluster.Pod(ctx, key.NamespacedName)
	if err != nil || pod.UID != key.UID || ended(pod) || !serves(pod) {
		return
	}
	r.start(ctx, &await{pod: pod, before: before})
}

// start awaits an outcome while other things are done.
func (r *Rollout) start(ctx context.Context, a *await) {
	ctx, a.cancel = context.WithCancel(ctx)
	key := podOf(a.pod)
	if earlier := r.awaited[key]; earlier != nil {
		earlier.cancel()
	}
	r.awaited[key] = a
	go func() {
		defer a.cancel()
		o := r.outcome(ctx, a)
		if ctx.Err() == nil {
			r.queue.Add(o)
		}
	}()
}

// outcome looks at a changed pod until there is an outcome, for less than a minute.
func (r *Rollout) outcome(ctx context.Context, a *await) *outcome {
	o := &outcome{of: a, verdict: verdict.Verdict{Outcome: verdict.Unknown}}
	before := a.before
	switch {
	case !serves(a.pod) && a.image == "":
		o.why = "its sidecar does not run yet"
		return o
	case a.silent != nil && a.image == "":
		o.why = a.silent.Error()
		return o
	case !a.ours && before == nil:
		// Mostly before the kubelet has written the files.
		var err error
		if before, err = r.config.Envoys.Updates(ctx, a.pod); err != nil {
			o.why = err.Error()
			return o
		}
	}
	restarts := a.image != ""
	waited := time.Duration(0)
	for _, d := range pauses {
		if !sleep(ctx, d) {
			return o
		}
		waited += d
		if restarts {
			if o.awaitStart(ctx, r.config.Cluster, waited) {
				return o
			}
			if o.why != "" {
				continue
			}
			restarts, before = false, nil // a new Envoy counts from zero
		}
		if o.ask(ctx, r.config.Envoys, before) {
			return o
		}
	}
	o.giveUp()
	return o
}

// awaitStart says whether the outcome is known because the sidecar does not start with its new image. Without a
// reason why, it has.
func (o *outcome) awaitStart(ctx context.Context, cluster Cluster, waited time.Duration) (known bool) {
	replaced, problem, err := o.of.replaced(ctx, cluster)
	switch {
	case errors.Is(err, errGone):
		o.gone = true
		return true
	case problem != "":
		o.verdict, o.why = verdict.Verdict{Outcome: verdict.Rejected}, problem
		return true
	case err == nil && replaced:
		o.why = ""
		return false
	}
	o.why = "its sidecar has not started with the new image yet"
	if waited > startLimit && serves(o.of.pod) { // as it was before; one that never served says nothing of the image
		o.verdict, o.why = verdict.Verdict{Outcome: verdict.Rejected}, fmt.Sprintf("not within %s; the pod's events say why", startLimit)
		return true
	}
	return false
}

// ask asks Envoy, and says whether the outcome is known.
func (o *outcome) ask(ctx context.Context, envoys Envoys, before templates.Updates) (known bool) {
	now, err := envoys.Updates(ctx, o.of.pod)
	if err != nil {
		o.why = err.Error()
		return errors.Is(err, ErrNoPage)
	}
	o.why, o.last = "", now
	o.verdict = verdict.Judge(before, now)
	return o.verdict.Outcome != verdict.Pending
}

// giveUp decides when there was no outcome in time.
func (o *outcome) giveUp() {
	switch {
	case o.last == nil:
		o.verdict = verdict.Verdict{Outcome: verdict.Unknown}
	case verdict.Standing(o.last).Outcome == verdict.Rejected: // it had read the files before we looked for the first time
		o.verdict, o.why = verdict.Standing(o.last), ""
	case !o.of.ours:
		o.verdict, o.why = verdict.Verdict{Outcome: verdict.Taken}, ""
	default:
		o.verdict, o.why = verdict.Verdict{Outcome: verdict.Unknown}, "its Envoy has not read the files yet"
	}
}

// do takes note of the outcome, and reports what is rejected.
func (o *outcome) do(ctx context.Context, r *Rollout) error {
	key := podOf(o.of.pod)
	if r.awaited[key] != o.of {
		return nil // the pod is gone
	}
	delete(r.awaited, key)
	if o.gone {
		r.forget(key)
		return nil
	}
	r.plan.Done(key, o.verdict.Outcome)
	if o.of.ours {
		r.config.Metrics.refreshed(string(o.verdict.Outcome))
	}
	logger := r.config.Logger.WithValues("namespace", key.Namespace, "pod", key.Name, "byRollout", o.of.ours)
	switch o.verdict.Outcome {
	case verdict.Rejected:
		note := o.note(r.plan)
		logger.Error(errRejected, note, "reason", reason.ConfigurationRejected, "files", o.verdict.Files,
			"rejectingNamespaces", r.plan.RejectingNamespaces(), "stoppedAll", r.plan.Stopped())
		r.tell(o.of.pod, reason.ConfigurationRejected, note)
	case verdict.Unknown:
		logger.Info("a running pod was changed, and does not say what became of it", "error", o.why)
	case verdict.Taken, verdict.Pending:
		delete(r.first.rejected, key) // what it has now is another one
		logger.V(1).Info("a running pod took its configuration")
	}
	if o.of.changedAgain {
		r.observe(ctx, key, o.last)
	}
	return nil
}

// replaced says whether Envoy runs in another container than before, or why none starts.
func (a *await) replaced(ctx context.Context, cluster Cluster) (done bool, problem string, err error) {
	pod, err := cluster.Pod(ctx, podOf(a.pod).NamespacedName)
	switch {
	case apierrors.IsNotFound(err), err == nil && (pod.UID != a.pod.UID || ended(pod)):
		return false, "", errGone
	case err != nil:
		return false, "", err
	}
	status, ok := sidecarStatus(pod)
	if !ok {
		return false, "", nil
	}
	if problem := startProblem(status); problem != "" {
		return false, problem, nil
	}
	return status.ContainerID != a.container && status.State.Running != nil && status.Started != nil &&
		*status.Started, "", nil
}

// brokenImages are the kubelet's reasons for an image that does not become a container.
var brokenImages = []string{
	"ErrImagePull",
	"ImagePullBackOff",
	"InvalidImageName",
	"ErrImageNeverPull",
	"ErrImageInspect",
}

// brokenContainers are its reasons for a container that does not start, and not for one that will in a moment.
var brokenContainers = []string{
	"CrashLoopBackOff",
	"CreateContainerError",
	"CreateContainerConfigError",
	"RunContainerError",
}

// startProblem is why a container does not start, in the kubelet's words; empty if it does, or may.
func startProblem(status corev1.ContainerStatus) string {
	if w := status.State.Waiting; w != nil && slices.Contains(slices.Concat(brokenImages, brokenContainers), w.Reason) {
		return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
	}
	return ""
}

// imageProblem is why a pod's sidecar does not start with its image; empty if it does, or if it is anything else.
func imageProblem(pod *corev1.Pod) string {
	status, _ := sidecarStatus(pod)
	if w := status.State.Waiting; w == nil || !slices.Contains(brokenImages, w.Reason) {
		return ""
	}
	return startProblem(status)
}

// sidecarStatus is that of Envoy's container.
func sidecarStatus(pod *corev1.Pod) (corev1.ContainerStatus, bool) {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.Name == intent.SidecarName {
			return s, true
		}
	}
	return corev1.ContainerStatus{}, false
}

func containerOf(pod *corev1.Pod) string {
	status, _ := sidecarStatus(pod)
	return status.ContainerID
}

// serves says whether a pod's Envoy runs and can be asked.
func serves(pod *corev1.Pod) bool {
	status, ok := sidecarStatus(pod)
	return ok && status.State.Running != nil && pod.Status.PodIP != ""
}

// sleep says whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
