package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

type watchOptions struct {
	url         string
	interval    time.Duration
	timeout     time.Duration
	callTimeout time.Duration
	untilStatus string
	count       int
	format      outputFormat
}

func newWatchCommand() *cobra.Command {
	var options watchOptions
	command := &cobra.Command{
		Use:   "watch URL",
		Short: "Call a URL over one connection and print a line whenever the answer changes",
		Long: `Call a URL over one keep-alive connection and print a line whenever the answer changes, or the
connection had to be opened again: the time, the status ("error" when no answer came), whether the
connection was "new" or "reused", and the first line of the body.

With --until-status it ends with exit code 0 once that status came --count times in a row, and with
1 when --timeout is over first. Without, it ends with 0 after --timeout. "error" is a status too.`,
		Example: `  sample watch http://127.0.0.1:8000/api --until-status 200
  sample watch http://127.0.0.1:8000/api --until-status 403 --timeout 30s --interval 20ms`,
		Args: oneArgument("a URL"),
		RunE: func(command *cobra.Command, arguments []string) error {
			options.url = arguments[0]
			if err := options.check(); err != nil {
				return err
			}
			return watch(command.Context(), options, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.DurationVar(&options.interval, "interval", 50*time.Millisecond, "time between two calls")
	flags.DurationVar(&options.timeout, "timeout", time.Minute, "how long to watch")
	flags.DurationVar(&options.callTimeout, "call-timeout", 5*time.Second, "how long to wait for one answer")
	flags.StringVar(&options.untilStatus, "until-status", "", `the status that ends the watch, a number or "error"`)
	flags.IntVar(&options.count, "count", 1, "how often --until-status has to come in a row")
	addOutputFlag(command, &options.format)
	return command
}

func (o watchOptions) check() error {
	if err := checkURL(o.url); err != nil {
		return err
	}
	if o.untilStatus != "" && o.untilStatus != "error" {
		if status, err := strconv.Atoi(o.untilStatus); err != nil || status < 100 || status > 599 {
			return usagef(`--until-status: expected a number from 100 to 599 or "error", got %q`, o.untilStatus)
		}
	}
	if o.count < 1 {
		return usagef("--count: expected 1 or more, got %d", o.count)
	}
	for flag, value := range map[string]time.Duration{
		"interval": o.interval, "timeout": o.timeout, "call-timeout": o.callTimeout,
	} {
		if err := checkPositive(flag, value); err != nil {
			return err
		}
	}
	return nil
}

func watch(ctx context.Context, options watchOptions, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, options.timeout)
	defer cancel()
	transport := newTransport(true)
	defer transport.CloseIdleConnections()

	ticker := time.NewTicker(options.interval)
	defer ticker.Stop()
	var (
		previous answer
		inARow   int
	)
	for calls := 0; ; calls++ {
		got := call(ctx, transport, options.url, options.callTimeout)
		if ctx.Err() != nil { // we cut the call off ourselves: it says nothing about the server
			return options.ended(previous, calls)
		}
		if calls == 0 || changed(previous, got) {
			if err := printChange(out, options.format, got); err != nil {
				return err
			}
		}
		previous = got
		inARow++
		if got.statusText() != options.untilStatus {
			inARow = 0
		}
		if inARow == options.count {
			return nil
		}
		select {
		case <-ctx.Done():
			return options.ended(got, calls+1)
		case <-ticker.C:
		}
	}
}

// changed: a new connection counts as a change even when the answer is the same, since it tells
// that the one under watch was closed.
func changed(previous, current answer) bool {
	return previous.statusText() != current.statusText() || previous.summary() != current.summary() || !current.Reused
}

func (o watchOptions) ended(last answer, calls int) error {
	if o.untilStatus == "" {
		return nil
	}
	if calls == 0 {
		return fmt.Errorf("%s: expected status %s, but no call was answered before the end", o.url, o.untilStatus)
	}
	return fmt.Errorf("%s: expected status %s %d times in a row within %s; the last of %d calls gave %s %s",
		o.url, o.untilStatus, o.count, o.timeout, calls, last.statusText(), last.summary())
}

func printChange(out io.Writer, format outputFormat, got answer) error {
	connection := "new"
	if got.Reused {
		connection = "reused"
	}
	if format == outputJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			Time       string `json:"time"`
			Status     string `json:"status"`
			StatusText string `json:"statusText,omitempty"`
			Connection string `json:"connection"`
			Body       string `json:"body"`
		}{got.Started.Format(millisecondTime), got.statusText(), http.StatusText(got.Status), connection, got.summary()})
	}
	printf(out, "%s %s %s %s\n", got.Started.Format(millisecondTime), got.statusText(), connection, got.summary())
	return nil
}
