package replica

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
)

func TestShortenedNotes(t *testing.T) {
	t.Parallel()
	for _, note := range []string{"short", strings.Repeat("a", maxNote), strings.Repeat("ä", maxNote), "a" + strings.Repeat("ä", maxNote)} {
		got := shortened(note)
		if len(got) > maxNote || !strings.HasPrefix(note, strings.TrimSuffix(got, "…")) ||
			len(note) <= maxNote && got != note {
			t.Errorf("%d bytes became %d: %.20q…%q", len(note), len(got), got, got[len(got)-8:])
		}
		if len(note) > maxNote && len(got) < maxNote-len("…") {
			t.Errorf("%d bytes became %d: more was left out than there was room for", len(note), len(got))
		}
	}
}

// What a note says is no format, and one that is too long arrives shortened.
func TestEvent(t *testing.T) {
	t.Parallel()
	recorder := events.NewFakeRecorder(2)
	e := Events{Recorder: recorder, Action: "Reload"}
	e.Event(&corev1.Pod{}, corev1.EventTypeWarning, "PlatformRejected", "100%s of it")
	if got := <-recorder.Events; got != "Warning PlatformRejected 100%s of it" {
		t.Errorf("got %q", got)
	}
	e.Related(&corev1.Pod{}, &corev1.Pod{}, corev1.EventTypeNormal, "Long", strings.Repeat("a", 2*maxNote))
	if got := <-recorder.Events; !strings.HasSuffix(got, "a…") {
		t.Errorf("got %q", got)
	}
}
