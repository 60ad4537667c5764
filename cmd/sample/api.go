package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// maxDelay bounds ?delay=, so that a typing mistake does not hold a connection for hours.
const maxDelay = time.Minute

func newAPICommand() *cobra.Command {
	var (
		listen string
		grace  time.Duration
	)
	command := &cobra.Command{
		Use:   "api",
		Short: "Serve GET /api, which answers ok",
		Long: `Serve GET /api, which answers "ok". With ?delay=3s (at most 1m) the answer comes that much later.

The log is JSON, one line per event. The first line's "time" is the start of the program, with
milliseconds. On SIGTERM the server takes no new connections, finishes the requests that it has
already accepted, for at most --grace, and exits.`,
		Example: `  sample api --listen 127.0.0.1:8080
  sample get 'http://127.0.0.1:8080/api?delay=3s'`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkPositive("grace", grace); err != nil {
				return err
			}
			return runAPI(command.Context(), listen, grace, command.OutOrStdout())
		},
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to listen on; port 0 takes a free one and logs it")
	command.Flags().DurationVar(&grace, "grace", maxDelay, "how long requests may take to finish after SIGTERM")
	return command
}

func runAPI(ctx context.Context, listen string, grace time.Duration, log io.Writer) error {
	logger := newEventLog(log)
	logger.Info("starting")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	logger.Info("listening", "address", listener.Addr().String())
	err = serveUntilDone(ctx, listener, newAPIHandler(), grace)
	logger.Info("stopped")
	return err
}

// newEventLog writes JSON lines whose time always has milliseconds.
func newEventLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, attribute slog.Attr) slog.Attr {
			if len(groups) == 0 && attribute.Key == slog.TimeKey {
				return slog.String(slog.TimeKey, attribute.Value.Time().Format(millisecondTime))
			}
			return attribute
		},
	}))
}

func newAPIHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, r *http.Request) {
		delay, err := parseDelay(r.URL.Query().Get("delay"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(delay):
			_, _ = io.WriteString(w, "ok\n")
		case <-r.Context().Done(): // the caller is gone, nobody reads an answer
		}
	})
	return mux
}

func parseDelay(value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	delay, err := time.ParseDuration(value)
	if err != nil || delay < 0 || delay > maxDelay {
		return 0, fmt.Errorf("delay: expected a duration between 0s and %s, got %q", maxDelay, value)
	}
	return delay, nil
}

// serveUntilDone serves until ctx is done and then waits for open requests, for at most grace.
func serveUntilDone(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		// No IdleTimeout: a server that closes idle connections loses the request that is just
		// being sent, and a test would take that for a fault of the sidecar.
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		stopped <- server.Shutdown(bounded)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
