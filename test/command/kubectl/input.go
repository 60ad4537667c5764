package kubectl

import (
	"errors"
	"os"
	"slices"
	"strings"
)

// input is a command whose "-f -" names a file instead: kubectl would read the standard input of this process.
type input struct {
	args []string
	path string // empty for none
}

func newInput(args []string, stdin string) (input, error) {
	i := slices.Index(args, "-f")
	if i < 0 || i+1 == len(args) || args[i+1] != "-" {
		return input{args: args}, nil
	}
	file, err := os.CreateTemp("", "kubectl-stdin-*")
	if err != nil {
		return input{}, err
	}
	in := input{args: slices.Clone(args), path: file.Name()}
	in.args[i+1] = in.path
	_, err = file.WriteString(stdin)
	if err := errors.Join(err, file.Close()); err != nil {
		in.remove()
		return input{}, err
	}
	return in, nil
}

// hidden is a message as it is about the standard input.
func (i input) hidden(message string) string {
	if i.path == "" {
		return message
	}
	return strings.ReplaceAll(message, i.path, "STDIN")
}

func (i input) remove() {
	if i.path != "" {
		_ = os.Remove(i.path)
	}
}
