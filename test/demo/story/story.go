// Package story writes a story of numbered steps to a terminal or a file: paragraphs, what was typed, what came.
package story

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// width in columns of paragraphs and headings. Commands and their output are never broken: they are to be copied.
const width = 100

// Options say how a story is written.
type Options struct {
	Colour bool
	// Steps is how many there will be.
	Steps int
	// Pause is the rest after each step, for the reader; 0 is none.
	Pause time.Duration
}

// Story is written to as it happens. It drops errors of its writer: a reader who left misses the story, the steps go
// on.
type Story struct {
	w    io.Writer
	o    Options
	step int
}

// New begins a story.
func New(w io.Writer, o Options) *Story { return &Story{w: w, o: o} }

// Heading begins the next step.
func (s *Story) Heading(title string) {
	s.step++
	s.printf("\n%s\n", s.style(bold, rule(fmt.Sprintf("%d/%d  %s", s.step, s.o.Steps, title))))
}

// Say writes a paragraph.
func (s *Story) Say(format string, args ...any) {
	s.printf("\n%s\n", wrap(fmt.Sprintf(format, args...), width))
}

// Typed shows command lines as a reader could type them.
func (s *Story) Typed(lines ...string) {
	s.printf("\n")
	for _, line := range lines {
		s.printf("  $ %s\n", s.style(cyan, line))
	}
}

// Came shows what a command printed.
func (s *Story) Came(output string) {
	for line := range strings.Lines(strings.TrimRight(output, "\n") + "\n") {
		s.printf("    %s", line)
	}
}

// Fields shows pairs of a name and a value, one a line.
func (s *Story) Fields(fields ...Field) {
	s.Came(Align(fields))
}

// Checked says in one line that something was as told, with its figure.
func (s *Story) Checked(format string, args ...any) {
	s.printf("    %s %s\n", s.style(green, "✓"), fmt.Sprintf(format, args...))
}

// Pause gives the reader time.
func (s *Story) Pause(ctx context.Context) {
	select {
	case <-time.After(s.o.Pause):
	case <-ctx.Done():
	}
}

func (s *Story) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }
