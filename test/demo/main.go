// Demo plays the API demo on a real cluster and tells it as a story: what a user writes, what the webhook makes of it, who may
// call, and how that changes on a running pod. It checks whatever it tells.
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
		fmt.Fprintf(os.Stderr, "demo: %v\nSee `go run ./test/demo --help`.\n", err)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		return 1
	}
}

// usageError is a wrong command line.
type usageError struct{ error }
