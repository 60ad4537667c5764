package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Validate checks a pod with which all mutating webhooks are done: it is exactly what injection makes of it, or it has
// nothing of ours. Nothing in the pod changes, and nothing is to be registered. The error is a [intent.Refusal].
func (i Injector) Validate(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	decision, err := intent.Decide(ns, pod)
	if err != nil {
		return Result{}, err
	}
	if !decision.Inject {
		return Result{Decision: decision, Pod: pod}, intent.Refuse(reason.Tampered, readyMade(pod))
	}
	if !injected(pod) {
		return Result{}, intent.Refuse(reason.Tampered, []intent.Mistake{{
			Where: "annotation " + intent.AnnotationStatus,
			What:  "is missing in a pod that has to be injected",
			Hint:  "another webhook took it away after injection: let it leave what is under " + intent.Prefix + " alone",
		}})
	}
	res, err := i.again(ns, pod, pod)
	res.Workloads = nil
	return res, err
}

// ValidateUpdate checks a change of a running pod with which all mutating webhooks are done: what the webhook wrote is
// as it was, or what [Injector.Update] makes of the change.
func (i Injector) ValidateUpdate(ns intent.Namespace, before, after *corev1.Pod) (Result, error) {
	res, err := i.Update(ns, before, after)
	if err != nil {
		return Result{}, err
	}
	return Result{Decision: res.Decision, Pod: after}, intent.Refuse(reason.Tampered, notAmong(after, res.Pod))
}

// ValidateSubresource checks a change of a pod by way of its status or of its ephemeral containers. No configuration
// follows such a change, and so it touches nothing of ours, users' annotations included. The error is a
// [intent.Refusal].
func (i Injector) ValidateSubresource(_ intent.Namespace, before, after *corev1.Pod) (Result, error) {
	mistakes := changedMarks(before, after)
	if injected(before) {
		for _, key := range i.changedAnnotations(before, after) {
			mistakes = append(mistakes, notHere("annotation "+key))
		}
		if before.Labels[intent.LabelInject] != after.Labels[intent.LabelInject] {
			mistakes = append(mistakes, notHere("label "+intent.LabelInject))
		}
		mistakes = append(mistakes, ephemeralMounts(before, after)...)
	}
	return Result{Decision: intent.Decision{Reason: reason.Unchanged}, Pod: after}, intent.Refuse(reason.Tampered, mistakes)
}

func notHere(where string) intent.Mistake {
	return intent.Mistake{
		Where: where,
		What:  "cannot be changed by way of a subresource, where no configuration follows it",
		Hint:  "change the pod itself",
	}
}

// ephemeralMounts find ephemeral containers that begin to mount volumes of ours.
func ephemeralMounts(before, after *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	for _, c := range after.Spec.EphemeralContainers {
		was := func(b corev1.EphemeralContainer) bool { return b.Name == c.Name }
		if slices.ContainsFunc(before.Spec.EphemeralContainers, was) {
			continue // it cannot have changed
		}
		for n, m := range c.VolumeMounts {
			if isOurVolume(m.Name) {
				mistakes = append(mistakes, mountsOurs(c.Name, n, m.Name))
			}
		}
	}
	return mistakes
}

// setOrDelete gives a pod another one's annotation, or its absence.
func setOrDelete(pod *corev1.Pod, key string, from *corev1.Pod) {
	value, ok := from.Annotations[key]
	if !ok {
		delete(pod.Annotations, key)
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[key] = value
}

// readyMade finds what only the webhook makes, in a pod that it is not asked to inject. The registration entry selects
// the label: together with a container of the right name it is somebody's identity.
func readyMade(pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	report := func(where string) {
		mistakes = append(mistakes, intent.Mistake{
			Where: where,
			What:  "is written by the webhook alone, and this pod does not ask for injection",
			Hint: fmt.Sprintf("remove it, or label the pod %s=%s and remove everything that injection adds",
				intent.LabelInject, intent.InjectEnabled),
		})
	}
	if _, ok := pod.Labels[intent.LabelIdentity]; ok {
		report("label " + intent.LabelIdentity)
	}
	for _, key := range intent.WrittenByWebhook() {
		if _, ok := pod.Annotations[key]; ok {
			report("annotation " + key)
		}
	}
	if volume := tracesOf(pod); volume != "" {
		report("volume " + volume)
	}
	return mistakes
}
