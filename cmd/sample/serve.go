package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// finishTime is how long requests in flight may take when a server is told to end.
const finishTime = 10 * time.Second

// newHTTPServer speaks HTTP/1.1, and HTTP/2 without TLS ("h2c") on the same port.
func newHTTPServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		Protocols:         new(http.Protocols),
		// No IdleTimeout: a server that closes idle connections loses the request that is just
		// being sent, and a caller would take that for a fault of the sidecar.
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server
}

// serveUntilDone serves until ctx is done, and then finishes requests in flight.
func serveUntilDone(ctx context.Context, server *http.Server, listener net.Listener) error {
	serving, ctx := errgroup.WithContext(ctx) // a server that fails ends it
	serving.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	<-ctx.Done()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		_ = server.Close()
	}
	return serving.Wait()
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
