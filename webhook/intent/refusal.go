package intent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Mistake is one thing that is wrong with a pod, told to the person who can mend it.
type Mistake struct {
	Where string // what to edit, such as "annotation spiffe.io/app-port"
	What  string // what was expected and what was found
	Hint  string // what to do, empty when What already says it
	Over  bool   // one of the platform's limits is passed
}

func (m Mistake) String() string {
	text := m.Where + ": " + m.What
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	return Cut(text, maxMistakeBytes)
}

// Bounds of a message: pods can have more mistakes than anybody reads, and values of any length.
const (
	maxMistakes     = 20
	maxMistakeBytes = 1024
	maxMessageBytes = 8 << 10
)

// Cut leaves out the middle of a text that has more than so many bytes, and says how much: the end of a message often
// says what to do.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	head, tail := text[:most*2/3], text[len(text)-most/3:]
	return strings.ToValidUTF8(head, "") + fmt.Sprintf("… [%d bytes] …", len(text)-len(head)-len(tail)) +
		strings.ToValidUTF8(tail, "")
}

// Refusal is the error of a pod that is not admitted. It lists every mistake at once, so that a manifest is mended in
// one go.
type Refusal struct {
	Reason   reason.Reason
	Mistakes []Mistake
}

func (r *Refusal) Error() string {
	if len(r.Mistakes) == 1 {
		return fmt.Sprintf("%s: %s", r.Reason, r.Mistakes[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d mistakes", r.Reason, len(r.Mistakes))
	for i, m := range r.Mistakes {
		text := m.String()
		if i == maxMistakes || b.Len()+len(text) > maxMessageBytes {
			fmt.Fprintf(&b, "; and %d more", len(r.Mistakes)-i)
			break
		}
		fmt.Fprintf(&b, "; (%d) %s", i+1, text)
	}
	return b.String()
}

// IsOver says whether one of the platform's limits is passed.
func IsOver(mistakes []Mistake) bool {
	return slices.ContainsFunc(mistakes, func(m Mistake) bool { return m.Over })
}

// Refuse returns nil when there is nothing to refuse. A passed bound is the reason before any other.
func Refuse(why reason.Reason, mistakes []Mistake) error {
	if len(mistakes) == 0 {
		return nil
	}
	if IsOver(mistakes) {
		why = reason.OverLimit
	}
	return &Refusal{Reason: why, Mistakes: mistakes}
}
