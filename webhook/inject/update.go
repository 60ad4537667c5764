package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Update decides on a change of a running pod. Who may call whom can change: the generated listeners, clusters and
// authorization follow the annotations, and so does Envoy's image when a refresh is asked for and the platform wants
// it. What the running containers cannot take is denied with "needs a new pod". A pod that was never injected, and a
// change that touches nothing of ours, come back as they are.
func (i Injector) Update(ns intent.Namespace, before, after *corev1.Pod) (Result, error) {
	if !injected(before) {
		unchanged := Result{Decision: intent.Decision{Reason: reason.Unchanged}, Pod: after}
		return unchanged, intent.Refuse(reason.NeedsNewPod, addedAfterAdmission(before, after))
	}
	i.running = true
	res, err := i.update(ns, before, i.asked(before, after))
	if err != nil {
		return Result{}, err
	}
	// Called a second time for one change, because another webhook changed something as well, we find what we wrote.
	return res, intent.Refuse(reason.Tampered, notAmong(after, before, res.Pod))
}

// asked is a change of a running pod without what Update answered to it: the very pod given if there is no answer in
// it.
func (i Injector) asked(before, after *corev1.Pod) *corev1.Pod {
	asked := after
	differs := func(key string) bool { return before.Annotations[key] != after.Annotations[key] }
	if slices.ContainsFunc(regenerated, differs) {
		asked = after.DeepCopy()
		for _, key := range regenerated {
			setOrDelete(asked, key, before)
		}
	}
	if i.Platform.InPlace && differs(intent.AnnotationRefresh) && refreshesImage(after) {
		asked = withEnvoyImage(asked, envoyImage(before))
	}
	return asked
}

// notAmong finds what of the generated is in none of the pods that it may come from.
func notAmong(pod *corev1.Pod, from ...*corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	check := func(where string, of func(*corev1.Pod) string) {
		if !slices.ContainsFunc(from, func(source *corev1.Pod) bool { return of(source) == of(pod) }) {
			mistakes = append(mistakes, writtenByUsAlone(where))
		}
	}
	for _, key := range regenerated {
		check("annotation "+key, func(p *corev1.Pod) string { return p.Annotations[key] })
	}
	check("container "+intent.SidecarName+", image", envoyImage)
	return mistakes
}

func (i Injector) update(ns intent.Namespace, before, after *corev1.Pod) (Result, error) {
	if err := intent.Refuse(reason.Tampered, tampered(before, after)); err != nil {
		return Result{}, err
	}
	if err := intent.Refuse(reason.NeedsNewPod, imageMistakes(before, after)); err != nil {
		return Result{}, err
	}
	changed := i.changedAnnotations(before, after)
	if len(changed) == 0 {
		return Result{Decision: intent.Decision{Reason: reason.Unchanged}, Pod: after}, nil
	}
	var frozen []intent.Mistake
	for _, key := range changed {
		if intent.IsFrozen(key) {
			frozen = append(frozen, needsNewPod("annotation "+key))
		}
	}
	if err := intent.Refuse(reason.NeedsNewPod, frozen); err != nil {
		return Result{}, err
	}
	i.Platform = i.platformOf(before)
	i.jsonFiles, i.tcpDeadlines = readsJSON(before), StatusOf(before).envoy().TCPDeadlines
	i.readers, i.admitted, i.listedPorts = StatusOf(before).Readers, AppProtocolsOf(before), !leadsRestOfNames(before)
	res, err := i.inject(ns, stripRunning(after), i.newExceptions(ns, before))
	if err != nil {
		return Result{}, err
	}
	if stays := i.fixedChanges(ns, before, res.Pod, changed); len(stays) > 0 {
		return Result{}, intent.Refuse(reason.NeedsNewPod, stays)
	}
	if err := intent.Refuse(reason.NeedsNewPod, fixed(before, res.Pod)); err != nil {
		return Result{}, err
	}
	out := after.DeepCopy()
	if i.Platform.InPlace && slices.Contains(changed, intent.AnnotationRefresh) && refreshesImage(after) {
		out = withEnvoyImage(out, envoyImage(res.Pod))
	}
	for _, key := range regenerated {
		out.Annotations[key] = res.Pod.Annotations[key]
	}
	res.Pod, res.Decision = out, intent.Decision{Inject: true, Reason: reason.Regenerated}
	res.Warnings, res.Callees = nil, nil
	return res, nil
}

// fixedChanges finds what the changed annotations ask for and the running pod cannot take. The annotations before and
// after are compared as injection takes them now, so that a change of the platform since the pod's creation does not
// count as theirs.
func (i Injector) fixedChanges(ns intent.Namespace, before, wanted *corev1.Pod, changed []string) []intent.Mistake {
	is := StatusOf(wanted)
	if !sameTokens(StatusOf(before), is, startedWith(before, is.envoy()), is.envoy()) {
		return []intent.Mistake{otherTokens()}
	}
	as, err := i.inject(ns, stripRunning(before), nil)
	if err != nil {
		return nil
	}
	was := StatusOf(as.Pod).envoy()
	switch {
	case was.RequestsCertificates != is.envoy().RequestsCertificates:
		return allNeedNewPod(changed,
			"begins or ends to take callers with and without a certificate, which a running Envoy cannot")
	case !sameSet(was.Names, is.envoy().Names):
		return allNeedNewPod(changed, "calls other names, or other ports of them, and the aliases and ports of a running pod stay")
	case as.Pod.Annotations[intent.AnnotationBootstrap] != wanted.Annotations[intent.AnnotationBootstrap]:
		return allNeedNewPod(changed, "adds, removes or moves a port, and the ports of a running pod stay")
	case was.Secret != is.envoy().Secret:
		return allNeedNewPod(changed, "names another Secret, and the volumes of a running pod stay")
	case !slices.Equal(was.CAs, is.envoy().CAs):
		return allNeedNewPod(changed, "names other Secrets with CAs, and the volumes of a running pod stay")
	}
	return nil
}

// allNeedNewPod says of each of the changed annotations that it has, or may have, what a running pod cannot take.
func allNeedNewPod(changed []string, what string) []intent.Mistake {
	var mistakes []intent.Mistake
	for _, key := range changed {
		m := needsNewPod("annotation " + key)
		m.What = what + ": " + m.What
		mistakes = append(mistakes, m)
	}
	return mistakes
}

func needsNewPod(where string) intent.Mistake {
	return intent.Mistake{
		Where: where,
		What:  "a running pod cannot take this change, it needs a new pod",
		Hint:  "change the pod template of its workload, or delete the pod",
	}
}

func writtenByUsAlone(where string) intent.Mistake {
	return intent.Mistake{
		Where: where, What: "is written by the webhook alone and cannot be changed", Hint: "leave it as it is",
	}
}

// imageMistakes finds another image for our containers. The API server lets images of running containers change, and no
// other field of theirs.
func imageMistakes(before, after *corev1.Pod) []intent.Mistake {
	images := map[string]string{}
	for c := range intent.ContainersOf(before) {
		images[c.Name] = c.Image
	}
	var mistakes []intent.Mistake
	for c := range intent.ContainersOf(after) {
		if IsOurContainer(c.Name) && c.Image != images[c.Name] {
			mistakes = append(mistakes, needsNewPod("container "+c.Name+", image"))
		}
	}
	return mistakes
}

// changedMarks are the label and the annotations that only the webhook writes, where they differ.
func changedMarks(before, after *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	if before.Labels[intent.LabelIdentity] != after.Labels[intent.LabelIdentity] {
		mistakes = append(mistakes, writtenByUsAlone("label "+intent.LabelIdentity))
	}
	for _, key := range intent.WrittenByWebhook() {
		if before.Annotations[key] != after.Annotations[key] {
			mistakes = append(mistakes, writtenByUsAlone("annotation "+key))
		}
	}
	return mistakes
}

// tampered finds changes of what the webhook wrote.
func tampered(before, after *corev1.Pod) []intent.Mistake {
	mistakes := changedMarks(before, after)
	if before.Labels[intent.LabelInject] != after.Labels[intent.LabelInject] {
		mistakes = append(mistakes, needsNewPod("label "+intent.LabelInject))
	}
	return mistakes
}

// addedAfterAdmission finds what would give an identity to a running pod that was admitted without one: the
// registration entry selects the label.
func addedAfterAdmission(before, after *corev1.Pod) []intent.Mistake {
	mistakes := changedMarks(before, after)
	was, is := before.Labels[intent.LabelInject], after.Labels[intent.LabelInject]
	if is == intent.InjectEnabled && was != is {
		mistakes = append(mistakes, needsNewPod(fmt.Sprintf("label %s=%s", intent.LabelInject, intent.InjectEnabled)))
	}
	return mistakes
}

// changedAnnotations are the keys under our prefix whose values differ, in the order of the table, unknown ones last.
func (i Injector) changedAnnotations(before, after *corev1.Pod) []string {
	var changed []string
	for _, key := range slices.Concat(intent.WrittenByUsers(), i.Platform.UnknownKeys(after.Annotations)) {
		b, hadKey := before.Annotations[key]
		a, hasKey := after.Annotations[key]
		if hadKey != hasKey || a != b {
			changed = append(changed, key)
		}
	}
	return changed
}
