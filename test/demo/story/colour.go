package story

import (
	"os"

	"golang.org/x/term"
)

// Codes of ECMA-48, "select graphic rendition".
const (
	bold  = "1"
	green = "32"
	cyan  = "36"
)

func (s *Story) style(code, text string) string {
	if !s.o.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// IsTerminal tells whether a person reads the file as it is written.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Colour tells whether to use colour, by the rule of no-color.org and for terminals that can.
func Colour(terminal bool, getenv func(string) string) bool {
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}
