package webhook

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
)

// regenerated are the annotations that follow the user's on a running pod.
var regenerated = []string{AnnotationListeners, AnnotationClusters, AnnotationAuthorization}

// Update decides on a change of a running pod. Who may call whom can change: the generated listeners, clusters and
// authorization follow the annotations, and so does Envoy's image when a refresh is asked for and the platform wants it. What the running containers cannot take is refused with "needs a new pod".
// A pod that was never injected, and a change that touches nothing of ours, come back as they are.
func (i Injector) Update(ns Namespace, before, after *corev1.Pod) (Result, error) {
	if !injected(before) {
		return Result{Decision: Decision{Reason: ReasonUnchanged}, Pod: after}, refuse(ReasonNeedsNewPod, lateArrivals(before, after))
	}
	res, err := i.update(ns, before, i.asked(before, after))
	if err != nil {
		return Result{}, err
	}
	// Called a second time for one change, because another webhook changed something as well, we find what we wrote.
	return res, refuse(ReasonTampered, notAmong(after, before, res.Pod))
}

// asked is a change of a running pod without what Update answered to it: the very pod given if there is no answer in it.
func (i Injector) asked(before, after *corev1.Pod) *corev1.Pod {
	asked := after
	if slices.ContainsFunc(regenerated, func(key string) bool { return before.Annotations[key] != after.Annotations[key] }) {
		asked = after.DeepCopy()
		for _, key := range regenerated {
			setOrDelete(asked, key, before)
		}
	}
	if i.Platform.InPlace && before.Annotations[AnnotationRefresh] != after.Annotations[AnnotationRefresh] {
		asked = withSidecarImage(asked, sidecarImage(before))
	}
	return asked
}

// notAmong finds what of the generated is in none of the pods that it may come from.
func notAmong(pod *corev1.Pod, from ...*corev1.Pod) []Mistake {
	var mistakes []Mistake
	check := func(where string, of func(*corev1.Pod) string) {
		if !slices.ContainsFunc(from, func(source *corev1.Pod) bool { return of(source) == of(pod) }) {
			mistakes = append(mistakes, writtenByUsAlone(where))
		}
	}
	for _, key := range regenerated {
		check("annotation "+key, func(p *corev1.Pod) string { return p.Annotations[key] })
	}
	check("container "+SidecarName+", image", sidecarImage)
	return mistakes
}

func (i Injector) update(ns Namespace, before, after *corev1.Pod) (Result, error) {
	if err := refuse(ReasonTampered, tampered(before, after)); err != nil {
		return Result{}, err
	}
	if err := refuse(ReasonNeedsNewPod, imageMistakes(before, after)); err != nil {
		return Result{}, err
	}
	changed := i.changedAnnotations(before, after)
	if len(changed) == 0 {
		return Result{Decision: Decision{Reason: ReasonUnchanged}, Pod: after}, nil
	}
	var frozen []Mistake
	for _, key := range changed {
		// A key that is not in the table is refused for what it is when it is parsed.
		if row, known := annotationFor(key); known && !row.live {
			frozen = append(frozen, needsNewPod("annotation "+key))
		}
	}
	if err := refuse(ReasonNeedsNewPod, frozen); err != nil {
		return Result{}, err
	}
	res, err := i.inject(ns, strip(after))
	if err != nil {
		return Result{}, err
	}
	if err := refuse(ReasonNeedsNewPod, jwtStays(before, res.Pod)); err != nil {
		return Result{}, err
	}
	// Both made now, so that a change of the platform since the pod's creation is not taken for one of the user's.
	if was, err := i.inject(ns, strip(before)); err == nil {
		if was.Pod.Annotations[AnnotationBootstrap] != res.Pod.Annotations[AnnotationBootstrap] {
			return Result{}, refuse(ReasonNeedsNewPod, stays(changed, whatStays(was.Pod, res.Pod)))
		}
		if certificateSecret(was.Pod) != certificateSecret(res.Pod) {
			return Result{}, refuse(ReasonNeedsNewPod, stays(changed, "names another Secret, and the volumes of a running pod stay"))
		}
	}
	if err := refuse(ReasonNeedsNewPod, fixed(before, res.Pod)); err != nil {
		return Result{}, err
	}
	out := after.DeepCopy()
	if i.Platform.InPlace && slices.Contains(changed, AnnotationRefresh) {
		out = withSidecarImage(out, sidecarImage(res.Pod))
	}
	for _, key := range regenerated {
		out.Annotations[key] = res.Pod.Annotations[key]
	}
	res.Pod, res.Decision = out, Decision{Inject: true, Reason: ReasonRegenerated}
	return res, nil
}

// whatStays tells why two bootstraps differ, which Envoy reads once. The ports that are watched for readiness are in it.
func whatStays(was, is *corev1.Pod) string {
	optional := func(pod *corev1.Pod) bool { return templates.WithoutValidator(pod.Annotations[AnnotationBootstrap]) }
	if optional(was) != optional(is) {
		return "begins or ends to take callers with and without a certificate, which a running Envoy cannot"
	}
	return "adds, removes or moves a port, and the ports of a running pod stay"
}

// stays tells of each of the changes that it is, or may be, what a running pod cannot take.
func stays(changed []string, what string) []Mistake {
	var mistakes []Mistake
	for _, key := range changed {
		m := needsNewPod("annotation " + key)
		m.What = what + ": " + m.What
		mistakes = append(mistakes, m)
	}
	return mistakes
}

func needsNewPod(where string) Mistake {
	return Mistake{where, "a running pod cannot take this change, it needs a new pod", "change the pod template of its workload, or delete the pod"}
}

func writtenByUsAlone(where string) Mistake {
	return Mistake{where, "is written by the webhook alone and cannot be changed", "leave it as it is"}
}

// imageMistakes finds another image for our containers. The API server lets images of running containers change, and no other field of theirs.
func imageMistakes(before, after *corev1.Pod) []Mistake {
	images := map[string]string{}
	for c := range containersOf(before) {
		images[c.Name] = c.Image
	}
	var mistakes []Mistake
	for c := range containersOf(after) {
		if (c.Name == SidecarName || c.Name == JWTName) && c.Image != images[c.Name] {
			mistakes = append(mistakes, needsNewPod("container "+c.Name+", image"))
		}
	}
	return mistakes
}

// tampered finds changes of what the webhook wrote.
func tampered(before, after *corev1.Pod) []Mistake {
	var mistakes []Mistake
	check := func(where string, same bool) {
		if !same {
			mistakes = append(mistakes, writtenByUsAlone(where))
		}
	}
	check("label "+LabelIdentity, before.Labels[LabelIdentity] == after.Labels[LabelIdentity])
	for _, key := range writtenByWebhook() {
		check("annotation "+key, before.Annotations[key] == after.Annotations[key])
	}
	if before.Labels[LabelInject] != after.Labels[LabelInject] {
		mistakes = append(mistakes, needsNewPod("label "+LabelInject))
	}
	return mistakes
}

// lateArrivals finds what would make an identity of a running pod that was admitted without one: the registration entry
// selects the label.
func lateArrivals(before, after *corev1.Pod) []Mistake {
	var mistakes []Mistake
	if after.Labels[LabelIdentity] != before.Labels[LabelIdentity] {
		mistakes = append(mistakes, writtenByUsAlone("label "+LabelIdentity))
	}
	for _, key := range writtenByWebhook() {
		if after.Annotations[key] != before.Annotations[key] {
			mistakes = append(mistakes, writtenByUsAlone("annotation "+key))
		}
	}
	if after.Labels[LabelInject] == InjectEnabled && before.Labels[LabelInject] != InjectEnabled {
		mistakes = append(mistakes, needsNewPod(fmt.Sprintf("label %s=%s", LabelInject, InjectEnabled)))
	}
	return mistakes
}

// changedAnnotations are the keys under our prefix whose values differ, in the order of the table, unknown ones last.
func (i Injector) changedAnnotations(before, after *corev1.Pod) []string {
	var changed []string
	for _, key := range slices.Concat(writtenByUsers(), i.Platform.unknownKeys(after.Annotations)) {
		b, hadKey := before.Annotations[key]
		a, hasKey := after.Annotations[key]
		if hadKey != hasKey || a != b {
			changed = append(changed, key)
		}
	}
	return changed
}
