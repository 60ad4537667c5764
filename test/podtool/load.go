package main

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

type loadOptions struct {
	targets   []target
	duration  time.Duration
	workers   int
	interval  time.Duration
	timeout   time.Duration
	slowEvery int
	slowURL   string
	progress  time.Duration
}

func newLoadCommand() *cobra.Command {
	var (
		options  loadOptions
		fresh    []string
		untilEOF bool
		format   outputFormat
	)
	command := &cobra.Command{
		Use:   "load [URL...]",
		Short: "Send constant traffic and report every failure",
		Long: `Send constant traffic and report every failure. A URL says what one request is:

  http://HOST:PORT/PATH    a GET over HTTP/1.1
  grpc://HOST:PORT         a call of podtool.v1.Echo/Say, see 'podtool api'
  grpc://HOST:PORT/count   a stream of podtool.v1.Echo/Count
  tcp://HOST:PORT          a line and its answer

Each request is sent exactly once and counted exactly once: nothing is repeated, neither here nor in
the libraries. A request fails unless its whole answer came, over HTTP with a status of 2xx. Each
worker keeps its connection; to --fresh URLs each request has a new one. A TCP connection that the
server closed, or asked to be closed, between two requests is opened anew; that is no failure.

After --duration, on SIGTERM, or with --until-eof at the end of the standard input, no new request starts; those under way are still waited for and
counted. The report goes to stdout, progress to stderr. The exit code is 1 when a request failed.

With --slow-every N every Nth request goes to --slow-url instead, over HTTP. Such requests do not hold
up the others, and their latencies are reported apart.`,
		Example: `  podtool load http://127.0.0.1:8000/api --duration 60s --workers 4 --interval 20ms -o json
  podtool load http://127.0.0.1:8000/api --slow-every 50 --slow-url 'http://127.0.0.1:8000/api?delay=3s'
  podtool load grpc://127.0.0.1:8001 tcp://127.0.0.1:8002 --fresh tcp://127.0.0.1:8002`,
		RunE: func(command *cobra.Command, arguments []string) error {
			targets, err := parseTargets(arguments, fresh)
			if err != nil {
				return err
			}
			options.targets = targets
			if err := options.check(); err != nil {
				return err
			}
			ctx := command.Context()
			if untilEOF {
				ctx = untilEnd(ctx, command.InOrStdin())
			}
			outcome := generateLoad(ctx, options, command.ErrOrStderr())
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
	flags.StringArrayVar(&fresh, "fresh", nil, "a URL each of whose requests has a new connection; may be repeated")
	flags.DurationVar(&options.duration, "duration", time.Minute, "how long new requests are started")
	flags.BoolVar(&untilEOF, "until-eof", false, "stop also at the end of the standard input: `kubectl exec -i` passes no signal on")
	flags.IntVar(&options.workers, "workers", 4, "how many callers each URL has, each with a connection of its own")
	flags.DurationVar(&options.interval, "interval", 20*time.Millisecond, "time between two requests of one worker")
	flags.DurationVar(&options.timeout, "timeout", 10*time.Second, "how long to wait for one answer")
	flags.IntVar(&options.slowEvery, "slow-every", 0, "send every Nth request to --slow-url; 0 sends none")
	flags.StringVar(&options.slowURL, "slow-url", "", "a URL that takes long to answer")
	flags.DurationVar(&options.progress, "progress", 5*time.Second, "time between two lines on stderr")
	addOutputFlag(command, &format)
	return command
}

func (o loadOptions) check() error {
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

// untilEnd is done with ctx, or when in ends.
func untilEnd(ctx context.Context, in io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, in) // an input that breaks has ended too
	}()
	return ctx
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
	slow := newHTTPCaller(options.slowURL, true)
	defer slow.close()
	send := func(name string, c caller) {
		if number := sent.Add(1); options.slowEvery > 0 && number%int64(options.slowEvery) == 0 {
			working.Go(func() {
				tally.add(loadResult{URL: options.slowURL, Slow: true, answer: slow.call(calls, options.timeout)})
			})
			return
		}
		tally.add(loadResult{URL: name, answer: c.call(calls, options.timeout)})
	}
	callers := len(options.targets) * options.workers
	for n := range callers {
		// Spread over the interval, so that the load is even and not a burst per interval.
		offset := options.interval * time.Duration(n) / time.Duration(callers)
		target := options.targets[n%len(options.targets)]
		working.Go(func() {
			c := target.newCaller()
			defer c.close()
			every(ctx, offset, options.interval, func() { send(target.name(), c) })
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
