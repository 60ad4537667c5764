// Package command runs programs as a user would: kubectl, Helm, and the project's own tools, whose signals, messages
// and exit codes are the same for all of them.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// UsageError is a wrong command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Run runs the tool in the folder test/NAME until it ends or is told to by a signal, and returns the exit code: 0 done,
// 1 failed, 2 called wrongly.
func Run(name string, c *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := c.ExecuteContext(ctx)
	var usage UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%s: %v\nSee `go run ./test/%s --help`.\n", name, err, name)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
}
