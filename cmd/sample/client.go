package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
)

type clientOptions struct {
	url     string
	every   time.Duration
	timeout time.Duration
	count   int
	linger  time.Duration
}

func newClientCommand() *cobra.Command {
	var options clientOptions
	command := &cobra.Command{
		Use:   "client",
		Short: "Call a URL again and again and print a line per call",
		Long: `Call a URL again and again, each time over a new connection, and print a line per call: the
time, the status ("error" when no answer came), and the first line of the body. Failures do not end
it, SIGTERM does, --linger later: an app that still needs its upstreams while it ends.`,
		Example: `  sample client --url http://127.0.0.1:8000/api --every 1s`,
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.check(); err != nil {
				return err
			}
			ctx, cancel := lingering(command.Context(), options.linger)
			defer cancel()
			keepCalling(ctx, options, command.OutOrStdout())
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.url, "url", "", "what to call (required)")
	flags.DurationVar(&options.every, "every", time.Second, "time from the start of one call to the start of the next")
	flags.DurationVar(&options.timeout, "timeout", 5*time.Second, "how long to wait for one answer")
	flags.DurationVar(&options.linger, "linger", 0, "how long to go on after SIGTERM")
	flags.IntVar(&options.count, "count", 0, "stop after so many calls; 0 never stops")
	return command
}

func (o clientOptions) check() error {
	if err := checkURL(o.url); err != nil {
		return err
	}
	if err := checkPositive("every", o.every); err != nil {
		return err
	}
	if o.count < 0 {
		return usagef("--count: expected 0 or more, got %d", o.count)
	}
	if o.linger < 0 {
		return usagef("--linger: expected 0 or more, got %s", o.linger)
	}
	return checkPositive("timeout", o.timeout)
}

// lingering returns a context that is done so long after ctx.
func lingering(ctx context.Context, linger time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		select {
		case <-later.Done():
		case <-time.After(linger):
			cancel()
		}
	})
	return later, cancel
}

// keepCalling returns when ctx is done or the wanted number of calls has been made.
func keepCalling(ctx context.Context, options clientOptions, out io.Writer) {
	transport := newTransport(false)
	ticker := time.NewTicker(options.every)
	defer ticker.Stop()
	for made := 1; ; made++ {
		got := call(ctx, transport, options.url, options.timeout)
		if ctx.Err() != nil {
			return // a call that we cut off ourselves says nothing about the server
		}
		printf(out, "%s %s %s\n", got.Started.Format(millisecondTime), got.statusText(), got.summary())
		if made == options.count {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
