package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

type unreadOptions struct {
	requests, batch int
	pause, rest     time.Duration
	after           string
}

// unreadReport is what became of the requests, each in one of the three.
type unreadReport struct {
	Answered int64 `json:"answered"` // with 200
	Denied   int64 `json:"denied"`   // with another status
	Failed   int64 `json:"failed"`
}

func newUnreadCommand() *cobra.Command {
	var options unreadOptions
	command := &cobra.Command{
		Use:   "unread URL",
		Short: "Ask for many answers at once and read none of them",
		Long: `Send many requests over HTTP/2 without TLS, in batches, and read nothing of what is answered: the server,
or the proxy before it, has to hold it. When nothing more has come for --rest, all requests are given
up, and the report is printed as JSON.

With --after the next batch waits for an answer to that URL as well: on a busy machine a flood would
otherwise be faster than whoever is to notice it.`,
		Example: `  podtool unread http://10.0.0.7:8446/endless --requests 1000 --after http://10.0.0.7:15021/updates`,
		Args:    oneArgument("a URL"),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := checkURL(arguments[0]); err != nil {
				return err
			}
			if options.after != "" {
				if err := checkURL(options.after); err != nil {
					return err
				}
			}
			if err := options.check(); err != nil {
				return err
			}
			return json.NewEncoder(command.OutOrStdout()).Encode(leaveUnread(command.Context(), arguments[0], options))
		},
	}
	flags := command.Flags()
	flags.IntVar(&options.requests, "requests", 1000, "how many in all")
	flags.IntVar(&options.batch, "batch", 25, "how many at once")
	flags.DurationVar(&options.pause, "pause", 50*time.Millisecond, "time between two batches")
	flags.StringVar(&options.after, "after", "", "URL whose answer each batch but the first waits for (default: none)")
	flags.DurationVar(&options.rest, "rest", 2*time.Second, "how long nothing may have come at the end")
	return command
}

func (o unreadOptions) check() error {
	if o.requests < 1 || o.batch < 1 {
		return usagef("--requests and --batch: expected 1 or more, got %d and %d", o.requests, o.batch)
	}
	if err := checkPositive("pause", o.pause); err != nil {
		return err
	}
	return checkPositive("rest", o.rest)
}

// leaveUnread returns when nothing more comes, or ctx is done.
func leaveUnread(ctx context.Context, url string, options unreadOptions) unreadReport {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		// As small as may be, so that it is the other side that holds the rest.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 4 << 10, MaxReceiveBufferPerConnection: 64 << 10},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	var asking sync.WaitGroup
	var answered, denied, failed atomic.Int64
	ask := func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			failed.Add(1)
			return
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			failed.Add(1)
			return
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			denied.Add(1)
			return
		}
		answered.Add(1)
		<-ctx.Done()
	}
	for i := range options.requests {
		if i > 0 && i%options.batch == 0 {
			wait(ctx, options.pause)
			options.await(ctx)
		}
		asking.Go(ask)
	}
	report := func() unreadReport { return unreadReport{answered.Load(), denied.Load(), failed.Load()} }
	last := report()
	for wait(ctx, options.rest) && report() != last {
		last = report()
	}
	stop()
	asking.Wait() // what had no answer by now has failed
	return report()
}

// await asks whoever is to notice the flood. One that has ended meanwhile does not answer, which is for the caller to see.
func (o unreadOptions) await(ctx context.Context) {
	if o.after == "" {
		return
	}
	asked := newHTTPCaller(o.after, false)
	defer asked.close()
	asked.call(ctx, 5*time.Second)
}

// wait returns false when ctx is done before.
func wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
