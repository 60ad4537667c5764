package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// How running pods follow their namespace, the platform file and the templates: the annotation refresh gets another
// value, and the mutating webhook answers this as every change of a user's annotation: it generates the configuration
// again. So the webhook stays the only writer of what it generates, the identity is registered as always, and the
// validating webhook compares as always. A forged value gains nothing: any change of an annotation has the same effect.
// And there is no race with a user's own change: each is answered with what the annotations say together.

// Refresh is what of a running pod is outdated.
type Refresh struct {
	// Wanted is the [ConfigDigest] of what injection would make now. It is empty for a pod that has nothing of the kind.
	Wanted   string
	Outdated bool // some of it, or Envoy's image, is not what the pod has
	// Value is to be written as [intent.AnnotationRefresh] to bring it about: another one than the pod has.
	Value string
	// Urgent says that the pod refuses other quarantined identities than it should.
	Urgent bool
	// Image is Envoy's, when the platform wants it changed in place and the pod has another one; then Envoy restarts.
	Image string
	// NewPod says why the pod can take nothing of what is wanted, and has to be replaced.
	NewPod []intent.Mistake
}

// Refresh compares a running pod with what injection would make of it now. The error is a [intent.Refusal], when the
// namespace or the platform file have become such that the pod could not be injected: it stays as it is.
func (i Injector) Refresh(ns intent.Namespace, pod *corev1.Pod) (Refresh, error) {
	if !injected(pod) || StatusOf(pod).Sidecar == "" {
		return Refresh{}, nil
	}
	i.Platform, i.running = i.platformOf(pod), true
	i.jsonFiles, i.tcpDeadlines = readsJSON(pod), StatusOf(pod).envoy().TCPDeadlines
	i.readers, i.admitted, i.listedPorts = StatusOf(pod).Readers, AppProtocolsOf(pod), !leadsRestOfNames(pod)
	res, err := i.inject(ns, stripRunning(pod), nil)
	if err != nil {
		return Refresh{}, err
	}
	if stays := fixed(pod, res.Pod); len(stays) > 0 {
		return Refresh{NewPod: stays, Urgent: quarantineMarks(pod) != quarantineMarks(res.Pod)}, nil
	}
	wanted := res.Pod
	if !i.Platform.InPlace {
		wanted = withEnvoyImage(wanted, envoyImage(pod))
	}
	r := Refresh{Wanted: ConfigDigest(wanted)}
	if image := envoyImage(wanted); image != envoyImage(pod) {
		r.Image = image
	}
	r.Outdated = !r.Done(pod)
	r.Urgent = r.Outdated && quarantineMarks(pod) != quarantineMarks(wanted)
	suffix := ""
	if r.Urgent {
		r.Image, suffix = "", keepsImage // all such pods are changed at once, and must not all restart for it
	}
	if r.Value = r.Wanted + suffix; r.Value == pod.Annotations[intent.AnnotationRefresh] {
		r.Value = r.Wanted + "-again" + suffix
	}
	return r, nil
}

// keepsImage ends the values of [intent.AnnotationRefresh] that ask for the configuration alone.
const keepsImage = "-quarantine"

// refreshesImage says whether a change of the annotation brings Envoy's image as well.
func refreshesImage(pod *corev1.Pod) bool {
	return !strings.HasSuffix(pod.Annotations[intent.AnnotationRefresh], keepsImage)
}

func quarantineMarks(pod *corev1.Pod) string {
	return templates.QuarantineMarks(pod.Annotations[intent.AnnotationListeners])
}

// Done says whether a pod has what is wanted.
func (r Refresh) Done(pod *corev1.Pod) bool {
	return r.Wanted == ConfigDigest(pod) && (r.Image == "" || r.Image == envoyImage(pod))
}

// fixed finds what injection would make otherwise now, so that the rest of what it makes would be wrong for the pod.
func fixed(pod, wanted *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	was, is := StatusOf(pod), StatusOf(wanted)
	if was.SPIFFEID != is.SPIFFEID {
		mistakes = append(mistakes, needsNewPodFor("identity", was.SPIFFEID, is.SPIFFEID))
	}
	if was.Mode != is.Mode {
		mistakes = append(mistakes, needsNewPodFor("mode", was.Mode, is.Mode))
	}
	if was.Capture != is.Capture {
		said := map[bool]string{true: "inbound", false: "none"}
		mistakes = append(mistakes, needsNewPodFor("capture", said[was.Capture != ""], said[is.Capture != ""]))
	}
	today := is.envoy()
	started := startedWith(pod, today)
	if started.Secret != today.Secret {
		mistakes = append(mistakes,
			needsNewPodFor("Secret with the certificate", strconv.Quote(started.Secret), strconv.Quote(today.Secret)))
	}
	if !slices.Equal(started.CAs, today.CAs) {
		mistakes = append(mistakes,
			needsNewPodFor("Secrets with CAs", fmt.Sprintf("%q", started.CAs), fmt.Sprintf("%q", today.CAs)))
	}
	switch {
	case len(mistakes) > 0 || was.Sidecar == "":
		return mistakes
	case !sameTokens(was, is, started, today):
		return []intent.Mistake{otherTokens()}
	case !started.samePorts(today):
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
