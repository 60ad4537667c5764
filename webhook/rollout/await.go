package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook"
)

// ReasonConfigurationRejected is the reason of the event on a pod that does not work with what it was given, and on its owner.
const ReasonConfigurationRejected = "ConfigurationRejected"

// ErrNoPage is of an Envoy that was started with a bootstrap of before there was a page to ask for.
var ErrNoPage = errors.New("this pod's Envoy does not say how it took its configuration; a new pod's will")

var (
	errRejected     = errors.New("a running pod rejects its configuration")
	errOtherReplica = errors.New("the replica that answered goes by another namespace, platform file or version than this one")
)

// look is a changed pod whose outcome is to be learnt.
type look struct {
	pod       *corev1.Pod
	before    templates.Updates
	silent    error  // why before is not known
	image     string // empty: Envoy goes on
	container string // that Envoy ran in before the change
	ours      bool   // changed by the rollout
}

// finished is a changed pod whose outcome is known.
type finished struct {
	pod     *corev1.Pod
	verdict Verdict
	why     string // what was seen last, of what is rejected or unknown
	ours    bool
}

// note says to people what happened, and what to do.
func (f finished) note(plan *Plan) string {
	var out strings.Builder
	if f.why != "" {
		fmt.Fprintf(&out, "the sidecar of this pod does not start with the image that it was given: %s", f.why)
	} else {
		fmt.Fprintf(&out, "Envoy refuses the configuration that this pod was given (%s), and goes on with the one before; "+
			"why is in the log of its container %s", strings.Join(f.verdict.Files, ", "), webhook.SidecarName)
	}
	switch {
	case !f.ours:
		out.WriteString("; take back what was changed on the pod")
	case plan.Stopped():
		out.WriteString("; no further pod is changed until the platform file or the namespaces change again")
	default:
		fmt.Fprintf(&out, "; no further pod of namespace %s is changed until its annotations or the platform file change again", f.pod.Namespace)
	}
	return out.String()
}

// pauses between two looks at a changed pod. The kubelet writes the files within a second; all together are well below the minute
// within which a rejection is reported.
var pauses = []time.Duration{
	300 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second, 2 * time.Second, 2 * time.Second,
	3 * time.Second, 5 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second,
}

// maxWatched bounds how many pods are watched at a time that others than the rollout have changed.
const maxWatched = 100

// watch learns what becomes of a pod that somebody else has changed.
func (r *Rollout) watch(ctx context.Context, key Pod) {
	if r.watched.Add(1) > maxWatched {
		r.watched.Add(-1)
		r.Logger.Info("too many pods were changed at a time to see what becomes of each", "namespace", key.Namespace, "pod", key.Name)
		return
	}
	go func() {
		defer r.watched.Add(-1)
		pod, err := r.Cluster.Pod(ctx, key.NamespacedName)
		if err != nil || pod.UID != key.UID || ended(pod) || !serves(pod) {
			return
		}
		// Mostly before the kubelet has written the files.
		before, err := r.Envoys.Updates(ctx, pod)
		if err == nil {
			r.await(ctx, look{pod: pod, before: before})
		}
	}()
}

// await looks at a changed pod until there is an outcome, for less than a minute.
func (r *Rollout) await(ctx context.Context, l look) {
	f := finished{pod: l.pod, verdict: Verdict{Outcome: Unknown}, ours: l.ours}
	switch {
	case !serves(l.pod) && l.image == "":
		f.why = "its sidecar does not run yet"
	case l.silent != nil && l.image == "":
		f.why = l.silent.Error()
	default:
		f = r.keepLooking(ctx, l, f)
	}
	if ctx.Err() == nil {
		r.inbox.tell(func(m *mail) { m.outcomes = append(m.outcomes, f) })
	}
}

// startLimit is how long a sidecar may be down for its new image. The kubelet does not say why one does not start that ended well
// before (its state stays "terminated"), so that time has to tell.
const startLimit = 30 * time.Second

func (r *Rollout) keepLooking(ctx context.Context, l look, f finished) finished {
	var last templates.Updates
	waited := time.Duration(0)
	for _, d := range pauses {
		pause(ctx, d)
		waited += d
		if l.image != "" {
			replaced, problem, err := r.replaced(ctx, l)
			if problem != "" {
				f.verdict, f.why = Verdict{Outcome: Rejected}, problem
				return f
			}
			if err != nil || !replaced {
				f.why = "its sidecar has not started with the new image yet"
				if waited > startLimit && serves(l.pod) { // as it was before
					f.verdict, f.why = Verdict{Outcome: Rejected}, fmt.Sprintf("not within %s; the pod's events say why", startLimit)
					return f
				}
				continue
			}
			l.image, l.before = "", nil // a new Envoy counts from zero
		}
		now, err := r.Envoys.Updates(ctx, l.pod)
		if err != nil {
			if f.why = err.Error(); errors.Is(err, ErrNoPage) {
				return f
			}
			continue
		}
		f.why, last = "", now
		if f.verdict = Judge(l.before, now); f.verdict.Outcome != Pending {
			return f
		}
	}
	switch {
	case last == nil:
		f.verdict = Verdict{Outcome: Unknown}
	case Standing(last).Outcome == Rejected: // it had read the files before we looked for the first time
		f.verdict, f.why = Standing(last), ""
	case !l.ours:
		f.verdict, f.why = Verdict{Outcome: Taken}, ""
	default:
		f.verdict, f.why = Verdict{Outcome: Unknown}, "its Envoy has not read the files yet"
	}
	return f
}

// replaced says whether Envoy runs in another container than before, or why none starts.
func (r *Rollout) replaced(ctx context.Context, l look) (done bool, problem string, err error) {
	pod, err := r.Cluster.Pod(ctx, podOf(l.pod).NamespacedName)
	if err != nil {
		return false, "", err
	}
	status, ok := sidecarStatus(pod)
	if !ok {
		return false, "", nil
	}
	if w := status.State.Waiting; w != nil && slices.Contains(brokenImages, w.Reason) {
		return false, strings.TrimSuffix(w.Reason+": "+w.Message, ": "), nil
	}
	return status.ContainerID != l.container && status.State.Running != nil && status.Started != nil && *status.Started, "", nil
}

// brokenImages are the kubelet's reasons for a container that does not start, and not for one that will in a moment.
var brokenImages = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImageInspect",
	"CrashLoopBackOff", "CreateContainerError", "CreateContainerConfigError", "RunContainerError",
}

// sidecarStatus is that of Envoy's container.
func sidecarStatus(pod *corev1.Pod) (corev1.ContainerStatus, bool) {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.Name == webhook.SidecarName {
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
