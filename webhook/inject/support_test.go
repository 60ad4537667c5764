package inject

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func wantRefusal(t *testing.T, err error, reason reason.Reason, part string) {
	t.Helper()
	var r *intent.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal for %s, got %v", reason, err)
	}
	if r.Reason != reason || !strings.Contains(r.Error(), part) {
		t.Errorf("expected %s with %q, got %s", reason, part, r.Error())
	}
}

// wantMistakes checks that an error is a refusal with exactly these mistakes.
func wantMistakes(t *testing.T, err error, reason reason.Reason, want []string) {
	t.Helper()
	var r *intent.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal for %s, got %v", reason, err)
	}
	if r.Reason != reason {
		t.Errorf("expected the reason %s, got %s", reason, r.Reason)
	}
	var got []string
	for _, m := range r.Mistakes {
		got = append(got, m.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// wantErrorWith checks for a part of an error; "" wants none.
func wantErrorWith(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("expected no error, got %q", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("expected an error with %q, got %v", part, err)
	}
}

// wantUpdate changes an annotation of a running pod, which follows, also where its namespace says it, or needs a new pod
// for what is refused.
func wantUpdate(t *testing.T, i Injector, before *corev1.Pod, key, value, refused string) {
	t.Helper()
	after := before.DeepCopy()
	after.Annotations[key] = value
	changed, err := i.Update(intent.Namespace{Name: "demo"}, before, after)
	if refused != "" {
		wantRefusal(t, err, reason.NeedsNewPod, refused)
		return
	}
	if err != nil || changed.Reason != reason.Regenerated {
		t.Fatalf("got %s, %v", changed.Reason, err)
	}
	if mistakes := fixed(before, changed.Pod); len(mistakes) > 0 {
		t.Errorf("a running pod could not follow its namespace: %v", mistakes)
	}
}
