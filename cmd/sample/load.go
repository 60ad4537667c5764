package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

type loadOptions struct {
	url       string
	duration  time.Duration
	workers   int
	interval  time.Duration
	timeout   time.Duration
	slowEvery int
	slowURL   string
	keepAlive bool
	progress  time.Duration
}

func newLoadCommand() *cobra.Command {
	var (
		options loadOptions
		format  outputFormat
	)
	command := &cobra.Command{
		Use:   "load URL",
		Short: "Send constant traffic and report every failure",
		Long: `Send constant traffic and report every failure. Each request is sent exactly once and counted
exactly once: nothing is repeated, neither here nor in the HTTP library. A request fails unless its
whole answer came, with a status of 2xx.

After --duration, or on SIGTERM, no new request starts; those under way are still waited for and
counted. The report goes to stdout, progress to stderr. The exit code is 1 when a request failed.

With --slow-every N every Nth request goes to --slow-url instead. Such requests do not hold up the
others, and their latencies are reported apart.`,
		Example: `  sample load http://127.0.0.1:8000/api --duration 60s --workers 4 --interval 20ms -o json
  sample load http://127.0.0.1:8000/api --slow-every 50 --slow-url 'http://127.0.0.1:8000/api?delay=3s'`,
		Args: oneArgument("a URL"),
		RunE: func(command *cobra.Command, arguments []string) error {
			options.url = arguments[0]
			if err := options.check(); err != nil {
				return err
			}
			outcome := generateLoad(command.Context(), options, command.ErrOrStderr())
			if err := writeLoadReport(command.OutOrStdout(), format, outcome); err != nil {
				return err
			}
			if outcome.Failed > 0 {
				return errReported
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.DurationVar(&options.duration, "duration", time.Minute, "how long new requests are started")
	flags.IntVar(&options.workers, "workers", 4, "how many callers there are, each with a connection of its own")
	flags.DurationVar(&options.interval, "interval", 20*time.Millisecond, "time between two requests of one worker")
	flags.DurationVar(&options.timeout, "timeout", 10*time.Second, "how long to wait for one answer")
	flags.IntVar(&options.slowEvery, "slow-every", 0, "send every Nth request to --slow-url; 0 sends none")
	flags.StringVar(&options.slowURL, "slow-url", "", "a URL that takes long to answer")
	flags.BoolVar(&options.keepAlive, "keep-alive", true, "keep connections; otherwise each request has a new one")
	flags.DurationVar(&options.progress, "progress", 5*time.Second, "time between two lines on stderr")
	addOutputFlag(command, &format)
	return command
}

func (o loadOptions) check() error {
	if err := checkURL(o.url); err != nil {
		return err
	}
	if o.workers < 1 {
		return usagef("--workers: expected 1 or more, got %d", o.workers)
	}
	if o.slowEvery < 0 || (o.slowEvery > 0) != (o.slowURL != "") {
		return usagef("--slow-every and --slow-url belong together: expected both or neither, got %d and %q", o.slowEvery, o.slowURL)
	}
	if o.slowURL != "" {
		if err := checkURL(o.slowURL); err != nil {
			return err
		}
	}
	for flag, value := range map[string]time.Duration{
		"duration": o.duration, "interval": o.interval, "timeout": o.timeout, "progress": o.progress,
	} {
		if err := checkPositive(flag, value); err != nil {
			return err
		}
	}
	return nil
}

// generateLoad sends requests until the duration is over or ctx is done, and waits for the last
// answer.
func generateLoad(ctx context.Context, options loadOptions, progress io.Writer) loadReport {
	// What is under way when the time is over is still waited for: cutting it off would be a
	// failure that nobody caused but this program.
	calls := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, options.duration)
	defer cancel()

	var (
		tally   loadTally
		sent    atomic.Int64
		working sync.WaitGroup
	)
	slowTransport := newTransport(options.keepAlive)
	defer slowTransport.CloseIdleConnections()
	send := func(transport http.RoundTripper) {
		if number := sent.Add(1); options.slowEvery > 0 && number%int64(options.slowEvery) == 0 {
			working.Go(func() {
				tally.add(loadResult{URL: options.slowURL, Slow: true, answer: call(calls, slowTransport, options.slowURL, options.timeout)})
			})
			return
		}
		tally.add(loadResult{URL: options.url, answer: call(calls, transport, options.url, options.timeout)})
	}
	for worker := range options.workers {
		// Spread over the interval, so that the load is even and not a burst per interval.
		offset := options.interval * time.Duration(worker) / time.Duration(options.workers)
		working.Go(func() {
			transport := newTransport(options.keepAlive)
			defer transport.CloseIdleConnections()
			every(ctx, offset, options.interval, func() { send(transport) })
		})
	}
	stopProgress := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() { reportProgress(stopProgress, options.progress, &tally, progress) })
	working.Wait()
	close(stopProgress)
	reporting.Wait()
	return tally.report()
}

// every calls do after offset and then once per interval, never twice at a time, until ctx is done.
func every(ctx context.Context, offset, interval time.Duration, do func()) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(offset):
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func reportProgress(stop <-chan struct{}, interval time.Duration, tally *loadTally, out io.Writer) {
	started := time.Now()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			total, failed := tally.counts()
			printf(out, "%s: %d requests, %d failed\n", time.Since(started).Round(time.Second), total, failed)
		}
	}
}

func writeLoadReport(out io.Writer, format outputFormat, outcome loadReport) error {
	if format == outputJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(outcome)
	}
	outcome.writeText(out)
	return nil
}
