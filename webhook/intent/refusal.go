package intent

import (
	"fmt"
	"strings"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Mistake is one thing that is wrong with a pod, told to the person who can mend it.
type Mistake struct {
	Where string // what to edit, such as "annotation spiffe.io/app-port"
	What  string // what was expected and what was found
	Hint  string // what to do, empty when What already says it
}

func (m Mistake) String() string {
	if m.Hint == "" {
		return m.Where + ": " + m.What
	}
	return m.Where + ": " + m.What + "; " + m.Hint
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
		fmt.Fprintf(&b, "; (%d) %s", i+1, m)
	}
	return b.String()
}

// Refuse returns nil when there is nothing to refuse.
func Refuse(why reason.Reason, mistakes []Mistake) error {
	if len(mistakes) == 0 {
		return nil
	}
	return &Refusal{Reason: why, Mistakes: mistakes}
}
