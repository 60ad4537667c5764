package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

type helloOptions struct {
	listen, message, version, name string
}

func newHelloCommand() *cobra.Command {
	var options helloOptions
	command := &cobra.Command{
		Use:   "hello",
		Short: "Serve a greeting with a version and the host's name",
		Long: `Serve three lines over HTTP, whatever the path: a greeting, a version, and the name of the host, which in a
pod is the pod's. On SIGTERM it finishes what is under way and ends.`,
		Example: `  sample hello --listen 127.0.0.1:8080 --message 'Hello, world!' --version 1.0.0`,
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.message == "" || strings.ContainsAny(options.message+options.version+options.name, "\r\n") {
				return usagef("--message, --version and --name: expected a line each, the first not empty")
			}
			logger := newEventLog(command.OutOrStdout())
			listener, err := (&net.ListenConfig{}).Listen(command.Context(), "tcp", options.listen)
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			logger.Info("listening", "protocol", "http", "address", listener.Addr().String())
			return serveUntilDone(command.Context(), newHTTPServer(options), listener)
		},
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unnamed"
	}
	flags := command.Flags()
	flags.StringVar(&options.listen, "listen", "127.0.0.1:8080", "address for HTTP; port 0 takes a free one and logs it")
	flags.StringVar(&options.message, "message", "Hello, world!", "the greeting")
	flags.StringVar(&options.version, "version", "1.0.0", "the version that it tells")
	flags.StringVar(&options.name, "name", name, "the host that it tells")
	return command
}

// ServeHTTP answers every request with the greeting.
func (o helloOptions) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(podHeader, o.name)
	printf(w, "%s\nVersion: %s\nHostname: %s\n", o.message, o.version, o.name)
}
