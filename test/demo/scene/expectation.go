package scene

import (
	"fmt"
	"strings"
)

// Mismatch is a claim of the story that turned out otherwise.
type Mismatch struct {
	// What was looked at.
	What string
	// Expected and Got are what should have come and what came.
	Expected, Got string
	// Look is how to find out more, if anything helps.
	Look string
}

func (m *Mismatch) Error() string {
	text := fmt.Sprintf("%s: expected %s, got %s", m.What, m.Expected, orNothing(m.Got))
	if m.Look != "" {
		text += "; look at: " + m.Look
	}
	return text
}

func orNothing(s string) string {
	if strings.TrimSpace(s) == "" {
		return "nothing"
	}
	return strings.TrimSpace(s)
}
