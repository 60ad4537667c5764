package command

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// Error is a program that failed.
type Error struct {
	Program string
	Args    []string
	Stderr  string
	err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %v: %s", e.Program, strings.Join(e.Args, " "), e.err, strings.TrimSpace(e.Stderr))
}

func (e *Error) Unwrap() error { return e.err }

// run gives the program of a name its standard input and returns what it printed on its standard output; the error is
// an [Error].
func run(name string, c *exec.Cmd, stdin string) (string, error) {
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := c.Run(); err != nil {
		return stdout.String(), &Error{Program: name, Args: c.Args[1:], Stderr: stderr.String(), err: err}
	}
	return stdout.String(), nil
}
