package scene

import (
	"regexp"
	"strings"
)

// Command is a kubectl command line as a reader could type it.
type Command struct {
	// Args are kubectl's.
	Args []string
	// Pipe is what a reader would put behind a pipe to see no more than what the story shows.
	Pipe string
}

// In is a command in a namespace.
func In(namespace string, args ...string) Command {
	return Command{Args: append([]string{"-n", namespace}, args...)}
}

// String is the command for a POSIX shell.
func (c Command) String() string {
	words := []string{"kubectl"}
	for _, a := range c.Args {
		words = append(words, Quote(a))
	}
	line := strings.Join(words, " ")
	if c.Pipe != "" {
		line += " | " + c.Pipe
	}
	return line
}

var (
	plain    = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
	variable = regexp.MustCompile(`^[a-z-]+=`)
)

// Quote makes one word of a shell out of any string. Of name=value it quotes the value, as people do.
func Quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	if name := variable.FindString(word); name != "" {
		return name + Quote(word[len(name):])
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
