package inject

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// admits says whether a seal lets in a pod that injection here would not make so. Identity is authority: the pod's has
// to be one that the namespace may have here and now. What this version does not understand, such as a part that it does
// not know, comes of another version alone: where only the platform file differs, the newer one decides what is allowed.
func (i Injector) admits(ns intent.Namespace, pod *corev1.Pod, err error) bool {
	var refusal *intent.Refusal
	if !errors.As(err, &refusal) {
		return false
	}
	status := StatusOf(pod)
	switch {
	case refusal.Reason == reason.Tampered:
	case refusal.Reason == reason.Invalid && status.Version != i.Version:
	default:
		return false
	}
	id, err := spiffeid.FromString(status.SPIFFEID)
	if err != nil || !i.Sealing.holds(ns, pod) {
		return false
	}
	if _, is := i.Platform.Quarantined(id); is {
		return false
	}
	who := intent.SubjectOf(ns, pod)
	return intent.Authorize(i.Platform.Cluster.TrustDomain, i.Platform.Claims, who, id) == nil
}

// ofAnotherVersion is the denial of a pod that is not what injection here makes of it, and may be what another version
// makes: nobody can say then who changed what.
func (i Injector) ofAnotherVersion(pod *corev1.Pod, err error) error {
	var refusal *intent.Refusal
	version := StatusOf(pod).Version
	if !errors.As(err, &refusal) || refusal.Reason != reason.Tampered || version == "" || version == i.Version {
		return err
	}
	return intent.Refuse(reason.OtherVersion, append([]intent.Mistake{{
		Where: "annotation " + intent.AnnotationStatus,
		What: fmt.Sprintf("says that version %q of the injector made this pod, and here is version %q, which makes "+
			"another one", version, i.Version),
		Hint: "while the injector is upgraded, try again; else remove everything that injection added",
	}}, refusal.Mistakes...))
}
