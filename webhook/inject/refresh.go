package inject

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// How running pods follow their namespace, the platform file and the templates: somebody gives the annotation refresh another value,
// and the mutating webhook answers this as every change of a user's annotation, by making the configuration anew. So the webhook
// stays the only writer of what it generates, the identity is registered with it as ever, and the validating webhook compares as
// ever. A forged value gains nothing: whoever may annotate a pod gets what any change of an annotation gives him. And there
// is no race with a user's own change: each is answered with what the annotations say together.

// Refresh is what of a running pod is outdated.
type Refresh struct {
	// Wanted is the [ConfigDigest] of what injection would make now. It is empty for a pod that has nothing of the kind.
	Wanted   string
	Outdated bool // some of it, or Envoy's image, is not what the pod has
	// Value is to be written as [AnnotationRefresh] to bring it about: another one than the pod has.
	Value string
	// Image is Envoy's, when the platform wants it changed in place and the pod has another one; then Envoy restarts.
	Image string
	// NewPod says why the pod can take nothing of what is wanted, and has to be replaced.
	NewPod []intent.Mistake
}

// Refresh compares a running pod with what injection would make of it now. The error is a [Refusal], when the namespace or the
// platform file have become such that the pod could not be injected: it stays as it is.
func (i Injector) Refresh(ns intent.Namespace, pod *corev1.Pod) (Refresh, error) {
	if !injected(pod) || StatusOf(pod).Sidecar == "" {
		return Refresh{}, nil
	}
	res, err := i.inject(ns, strip(pod))
	if err != nil {
		return Refresh{}, err
	}
	if stays := fixed(pod, res.Pod); len(stays) > 0 {
		return Refresh{NewPod: stays}, nil
	}
	wanted := res.Pod
	if !i.Platform.InPlace {
		wanted = withSidecarImage(wanted, sidecarImage(pod))
	}
	r := Refresh{Wanted: ConfigDigest(wanted)}
	if image := sidecarImage(wanted); image != sidecarImage(pod) {
		r.Image = image
	}
	r.Outdated = !r.Done(pod)
	if r.Value = r.Wanted; r.Value == pod.Annotations[intent.AnnotationRefresh] {
		r.Value += "-again"
	}
	return r, nil
}

// Done says whether a pod has what is wanted.
func (r Refresh) Done(pod *corev1.Pod) bool {
	return r.Wanted == ConfigDigest(pod) && (r.Image == "" || r.Image == sidecarImage(pod))
}

// fixed finds what injection would make otherwise now, so that the rest of what it makes would be wrong for the pod: whom Envoy asks a
// certificate for, and the ports, of which those that are watched for readiness are in the bootstrap, which Envoy reads once.
func fixed(pod, wanted *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	was, is := StatusOf(pod), StatusOf(wanted)
	if was.SPIFFEID != is.SPIFFEID {
		mistakes = append(mistakes, needsNewPodFor("identity", was.SPIFFEID, is.SPIFFEID))
	}
	if was.Mode != is.Mode {
		mistakes = append(mistakes, needsNewPodFor("mode", was.Mode, is.Mode))
	}
	if was, is := certificateSecret(pod), certificateSecret(wanted); was != is {
		mistakes = append(mistakes, needsNewPodFor("Secret with the certificate", strconv.Quote(was), strconv.Quote(is)))
	}
	if len(mistakes) > 0 || was.Sidecar == "" {
		return mistakes
	}
	if stays := jwtStays(pod, wanted); len(stays) > 0 {
		return stays
	}
	same, err := templates.SamePorts(pod.Annotations[intent.AnnotationBootstrap], wanted.Annotations[intent.AnnotationBootstrap])
	switch {
	case err != nil:
		m := needsNewPod("annotation " + intent.AnnotationBootstrap)
		m.What = err.Error()
		return []intent.Mistake{m}
	case !same:
		m := needsNewPod("ports")
		m.What = "the namespace or the platform file add, remove or move a port, and the ports of a running pod stay"
		return []intent.Mistake{m}
	}
	return nil
}

func needsNewPodFor(what, was, is string) intent.Mistake {
	m := needsNewPod(what)
	m.What = fmt.Sprintf("was %s and would be %s by the namespace and the platform file of today; %s", was, is, m.What)
	return m
}

// sidecarImage is the image of Envoy's container, empty if there is none.
func sidecarImage(pod *corev1.Pod) string {
	for c := range intent.ContainersOf(pod) {
		if c.Name == intent.SidecarName {
			return c.Image
		}
	}
	return ""
}

// withSidecarImage is a pod with another image of Envoy: the very pod when it has that already.
func withSidecarImage(pod *corev1.Pod, image string) *corev1.Pod {
	if sidecarImage(pod) == image {
		return pod
	}
	out := pod.DeepCopy()
	for c := range intent.ContainersOf(out) {
		if c.Name == intent.SidecarName {
			c.Image = image
		}
	}
	return out
}
