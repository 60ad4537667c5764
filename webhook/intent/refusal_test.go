package intent

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// TestMessagesAreBounded: of many mistakes the first are told and how many more there are, and of a long value the
// beginning and the end.
func TestMessagesAreBounded(t *testing.T) {
	var mistakes []Mistake
	for i := range 15_000 {
		mistakes = append(mistakes, Mistake{Where: fmt.Sprintf("annotation %d", i), What: "unknown key", Hint: "remove it"})
	}
	text := Refuse(reason.Invalid, mistakes).Error()
	for _, want := range []string{"Invalid: 15000 mistakes; (1) annotation 0: unknown key; remove it;", "(20) annotation 19", "and 14980 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	long := Mistake{Where: "annotation x", What: "got " + strings.Repeat("ü", 1<<20), Hint: "did you mean y?"}
	for i := range mistakes {
		mistakes[i] = long
	}
	text = Refuse(reason.Invalid, mistakes).Error()
	if len(text) > maxMessageBytes+maxMistakeBytes || !strings.HasSuffix(text, " more") || !utf8.ValidString(text) {
		t.Errorf("a message of %d bytes that ends in %.100s", len(text), text[len(text)-100:])
	}
	one := Refuse(reason.Invalid, []Mistake{long}).Error()
	if len(one) > 2*maxMistakeBytes || !strings.HasPrefix(one, "Invalid: annotation x: got ü") ||
		!strings.HasSuffix(one, "ü; did you mean y?") || !strings.Contains(one, "bytes]") {
		t.Errorf("a mistake of %d bytes: %s", len(one), one)
	}
	if text := Refuse(reason.Invalid, []Mistake{long, {Over: true}}).Error(); !strings.HasPrefix(text, "OverLimit: ") {
		t.Errorf("a passed limit is not the reason: %.100s", text)
	}
}
