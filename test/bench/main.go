// Bench measures what the injector costs: creations per second, the way to the first call, bytes, memory, and how fast a
// changed policy is in force. It asserts nothing: figures depend on the machine, which is printed with them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "bench: %v\nSee `go run ./test/bench --help`.\n", err)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1
	}
}

// usageError is a wrong command line.
type usageError struct{ error }
