package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

type apiOptions struct {
	listen, https, grpc, tcp string
	name                     string
	startDelay, grace        time.Duration
	stop                     stopMode
	probeHeader              string
}

func newAPICommand() *cobra.Command {
	var options apiOptions
	command := &cobra.Command{
		Use:   "api",
		Short: "Serve an API over HTTP and, if asked, over HTTPS, gRPC and TCP",
		Long: `Serve an API on --listen over HTTP/1.1, and over HTTP/2 without TLS ("h2c") on the same port:

  GET /api             answers "ok"; with ?delay=3s (at most 1m) that much later
  GET /echo, /echo/... tells, as JSON, what arrived: protocol, URI, host and headers
  GET /log/...         answers as /api does, and logs "uri" and "host" of an event "asked" when it comes
  GET /endless         answers zeros until the caller is gone
  GET /healthz/KIND    200 while startup, liveness or readiness is on, otherwise 503
  PUT /healthz/KIND    with the body "on" or "off" switches it; 'podtool health' sends that
  GET /healthz         tells, as JSON, how often each was asked, and the last request

The header X-Pod of every answer is --name. --https serves the same over TLS, with a certificate that
nobody trusts.

--grpc serves podtool.v1.Echo, whose methods Say (unary) and Count (a stream of 5 messages, 100ms apart)
take and give google.protobuf.StringValue, and grpc.health.v1.Health, whose services are the KINDs
above. --tcp answers each line with one. Both begin their answers with --name and a space.

The log is JSON, one line per event. The first line's "time" is the start of the program, with
milliseconds. After --start-delay all ports open.

On SIGTERM, with --stop gracefully, the server takes no new connections, finishes what it has already
accepted, for at most --grace, and exits; TCP callers read "bye" and are served until they have hung
up. With --stop at-once it exits and everything under way breaks.`,
		Example: `  podtool api --listen 127.0.0.1:8080
  podtool api --listen 127.0.0.1:8080 --grpc 127.0.0.1:9090 --tcp 127.0.0.1:7070 --start-delay 5s --stop at-once`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.check(); err != nil {
				return err
			}
			return runAPI(command.Context(), options, command.OutOrStdout())
		},
	}
	options.stop = stopGracefully
	name, err := os.Hostname()
	if err != nil {
		name = "unnamed"
	}
	flags := command.Flags()
	flags.StringVar(&options.listen, "listen", "127.0.0.1:8080", "address for HTTP; port 0 takes a free one and logs it")
	flags.StringVar(&options.https, "https", "", "address for HTTPS (default: none)")
	flags.StringVar(&options.grpc, "grpc", "", "address for gRPC (default: none)")
	flags.StringVar(&options.tcp, "tcp", "", "address for lines over TCP (default: none)")
	flags.StringVar(&options.name, "name", name, "what answers call this server; a pod's host name is the pod's name")
	flags.DurationVar(&options.startDelay, "start-delay", 0, "time from the start to the opening of the ports")
	flags.DurationVar(&options.grace, "grace", maxDelay, "how long requests may take to finish after SIGTERM")
	flags.Var(&options.stop, "stop", `what SIGTERM does: "gracefully" or "at-once"`)
	flags.StringVar(&options.probeHeader, "probe-header", "", `header without which GET /healthz/KIND answers 400, such as "X-Probe: yes"`)
	return command
}

func (o apiOptions) check() error {
	if o.startDelay < 0 {
		return usagef("--start-delay: expected 0 or more, got %s", o.startDelay)
	}
	if name, _, found := strings.Cut(o.probeHeader, ":"); o.probeHeader != "" && (!found || strings.TrimSpace(name) == "") {
		return usagef(`--probe-header: expected something like "X-Probe: yes", got %q`, o.probeHeader)
	}
	if o.name == "" || strings.ContainsAny(o.name, " \r\n") {
		return usagef("--name: expected a word, because answers begin with it and a space; got %q", o.name)
	}
	return checkPositive("grace", o.grace)
}

// stopMode is the value of --stop.
type stopMode string

const (
	stopGracefully stopMode = "gracefully"
	stopAtOnce     stopMode = "at-once"
)

// Set implements pflag.Value.
func (m *stopMode) Set(value string) error {
	switch stopMode(value) {
	case stopGracefully, stopAtOnce:
		*m = stopMode(value)
		return nil
	}
	return fmt.Errorf("expected %s or %s, got %q", stopGracefully, stopAtOnce, value)
}

// String implements pflag.Value.
func (m *stopMode) String() string { return string(*m) }

// Type implements pflag.Value.
func (m *stopMode) Type() string { return "mode" }

// service is one port of the API.
type service struct {
	protocol string
	listener net.Listener
	// serve returns nil once the service was stopped in either way.
	serve func() error
	// finish takes nothing new and waits for what is under way, at most until its context is done.
	finish func(context.Context) error
	// cut ends everything at once.
	cut func()
}

func runAPI(ctx context.Context, options apiOptions, log io.Writer) error {
	logger := newEventLog(log)
	logger.Info("starting")
	select {
	case <-ctx.Done():
		logger.Info("stopped")
		return nil
	case <-time.After(options.startDelay):
	}
	services, err := openServices(ctx, options, logger)
	if err != nil {
		return err
	}
	serving, ctx := errgroup.WithContext(ctx) // one that fails ends the others
	for _, s := range services {
		serving.Go(s.serve)
		logger.Info("listening", "protocol", s.protocol, "address", s.listener.Addr().String())
	}
	<-ctx.Done()
	err = stopServices(ctx, services, options)
	if serveErr := serving.Wait(); serveErr != nil {
		err = serveErr
	}
	logger.Info("stopped")
	return err
}

// openServices opens all ports or none.
func openServices(ctx context.Context, options apiOptions, logger *slog.Logger) (services []service, err error) {
	defer func() {
		if err != nil {
			for _, s := range services {
				_ = s.listener.Close()
			}
		}
	}()
	state := newHealth(options.probeHeader)
	handler := newAPIHandler(options.name, state, logger)
	for _, port := range []struct {
		flag, address string
		open          func(net.Listener) (service, error)
	}{
		{"listen", options.listen, func(l net.Listener) (service, error) { return newHTTPService(l, handler), nil }},
		{"https", options.https, func(l net.Listener) (service, error) { return newHTTPSService(l, handler) }},
		{"grpc", options.grpc, func(l net.Listener) (service, error) { return newGRPCService(l, options.name, state), nil }},
		{"tcp", options.tcp, func(l net.Listener) (service, error) { return newTCPService(l, options.name), nil }},
	} {
		if port.address == "" {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", port.address)
		if err != nil {
			return services, fmt.Errorf("--%s: %w", port.flag, err)
		}
		opened, err := port.open(listener)
		services = append(services, opened)
		if err != nil {
			return services, fmt.Errorf("--%s: %w", port.flag, err)
		}
	}
	return services, nil
}

func stopServices(ctx context.Context, services []service, options apiOptions) error {
	if options.stop == stopAtOnce {
		for _, s := range services {
			s.cut()
		}
		return nil
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), options.grace)
	defer cancel()
	var finishing errgroup.Group
	for _, s := range services {
		finishing.Go(func() error {
			if err := s.finish(bounded); err != nil {
				s.cut()
				return fmt.Errorf("%s: finishing what was under way: %w", s.protocol, err)
			}
			return nil
		})
	}
	return finishing.Wait()
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
