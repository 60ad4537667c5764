package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errReported ends a command with exit code 1 after it has already printed why.
var errReported = errors.New("already reported")

// usageError is a command line that cannot be carried out whatever the world looks like.
type usageError struct{ cause error }

func usagef(format string, arguments ...any) error {
	return &usageError{cause: fmt.Errorf(format, arguments...)}
}

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// report prints err, if there is one, and returns the exit code that it stands for.
func report(command *cobra.Command, err error, stderr io.Writer) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		printf(stderr, "%s: %v\nSee '%s --help'.\n", command.CommandPath(), err, command.CommandPath())
		return exitUsage
	default:
		printf(stderr, "%s: %v\n", command.CommandPath(), err)
		return exitFailed
	}
}
