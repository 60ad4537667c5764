package intent

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

const absent = "(absent)"

// labelled are the labels with this value of the inject label; none at all for absent.
func labelled(value string) map[string]string {
	if value == absent {
		return nil
	}
	return map[string]string{LabelInject: value}
}

func TestDecide(t *testing.T) {
	const (
		podRequired   = `label spiffe.io/inject: expected "enabled" or "disabled", got "required"; required belongs on a Namespace`
		cannotOptOut  = "label spiffe.io/inject: namespace demo requires injection, a pod in it cannot opt out; remove the label"
		podNearEnable = `label spiffe.io/inject: expected "enabled" or "disabled", got "enable"; did you mean "enabled"?`
		podTrue       = `label spiffe.io/inject: expected "enabled" or "disabled", got "true"`
		nsUpperCase   = `label spiffe.io/inject of namespace demo: expected "enabled", "disabled" or "required", got "Required"; did you mean "required"?`
	)
	tests := []struct {
		namespace, pod string
		inject         bool
		reason         reason.Reason
		mistakes       []string // of the refusal
	}{
		{absent, absent, false, reason.NotLabelled, nil},
		{absent, InjectEnabled, true, reason.PodEnabled, nil},
		{absent, InjectDisabled, false, reason.PodDisabled, nil},
		{absent, InjectRequired, false, "", []string{podRequired}},

		{InjectEnabled, absent, true, reason.NamespaceEnabled, nil},
		{InjectEnabled, InjectEnabled, true, reason.PodEnabled, nil},
		{InjectEnabled, InjectDisabled, false, reason.PodDisabled, nil},
		{InjectEnabled, InjectRequired, false, "", []string{podRequired}},

		{InjectDisabled, absent, false, reason.NotLabelled, nil},
		{InjectDisabled, InjectEnabled, true, reason.PodEnabled, nil},
		{InjectDisabled, InjectDisabled, false, reason.PodDisabled, nil},
		{InjectDisabled, InjectRequired, false, "", []string{podRequired}},

		{InjectRequired, absent, true, reason.NamespaceRequired, nil},
		{InjectRequired, InjectEnabled, true, reason.NamespaceRequired, nil},
		{InjectRequired, InjectDisabled, false, "", []string{cannotOptOut}},
		{InjectRequired, InjectRequired, false, "", []string{podRequired}},

		// Nothing but the exact words; a mistake is never taken for "no".
		{absent, "enable", false, "", []string{podNearEnable}},
		{absent, "true", false, "", []string{podTrue}},
		{absent, "", false, "", []string{`label spiffe.io/inject: expected "enabled" or "disabled", got ""`}},
		{InjectEnabled, " enabled", false, "", []string{`label spiffe.io/inject: expected "enabled" or "disabled", got " enabled"; did you mean "enabled"?`}},
		{"Required", absent, false, "", []string{nsUpperCase}},
		{"Required", InjectEnabled, false, "", []string{nsUpperCase}},
		{"Required", "enable", false, "", []string{podNearEnable, nsUpperCase}},
		{"", absent, false, "", []string{`label spiffe.io/inject of namespace demo: expected "enabled", "disabled" or "required", got ""`}},
	}
	for _, test := range tests {
		t.Run("namespace "+test.namespace+", pod "+test.pod, func(t *testing.T) {
			ns := Namespace{Name: "demo", Labels: labelled(test.namespace)}
			got, err := Decide(ns, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labelled(test.pod)}})
			if test.mistakes != nil {
				wantMistakes(t, err, reason.Invalid, test.mistakes)
			} else if err != nil {
				t.Fatal(err)
			}
			if want := (Decision{test.inject, test.reason}); got != want {
				t.Errorf("expected %+v, got %+v", want, got)
			}
		})
	}
}

func TestDecideLeavesMirrorsOfStaticPodsAlone(t *testing.T) {
	ns := Namespace{Name: "demo", Labels: labelled(InjectRequired)}
	for _, label := range []string{absent, InjectEnabled, "true"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Labels: labelled(label), Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "3f7d1c"},
		}}
		if got, err := Decide(ns, pod); err != nil || got != (Decision{false, reason.MirrorPod}) {
			t.Errorf("label %q: expected it to be left alone, got %+v, %v", label, got, err)
		}
	}
}

// wantMistakes checks that an error is a refusal with exactly these mistakes.
func wantMistakes(t *testing.T, err error, why reason.Reason, want []string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal for %s, got %v", why, err)
	}
	if r.Reason != why {
		t.Errorf("expected the reason %s, got %s", why, r.Reason)
	}
	if diff := cmp.Diff(want, texts(r.Mistakes)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func texts(mistakes []Mistake) []string {
	var texts []string
	for _, m := range mistakes {
		texts = append(texts, m.String())
	}
	return texts
}
