package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealthCommand() *cobra.Command {
	var (
		address string
		timeout time.Duration
	)
	command := &cobra.Command{
		Use:   "health KIND on|off",
		Short: "Let the probes of a running API succeed or fail",
		Long: `Let the probes of a running API succeed or fail, over HTTP and gRPC. KIND is startup, liveness or
readiness. The exit code is 1 when the API did not obey.`,
		Example: `  kubectl exec deploy/api -c api -- /podtool health liveness off`,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) != 2 || arguments[1] != "on" && arguments[1] != "off" {
				return usagef("expected a kind and on or off, such as: liveness off")
			}
			if !slices.Contains(healthKinds, arguments[0]) {
				return usagef("%w", unknownKind(arguments[0]))
			}
			return nil
		},
		RunE: func(command *cobra.Command, arguments []string) error {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return usagef("--address: expected something like 127.0.0.1:8080: %w", err)
			}
			if err := checkPositive("timeout", timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			return switchHealth(ctx, address, arguments[0], arguments[1])
		},
	}
	command.Flags().StringVar(&address, "address", "127.0.0.1:8080", "where the API listens for HTTP")
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return command
}

func switchHealth(ctx context.Context, address, kind, value string) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+address+"/healthz/"+kind, strings.NewReader(value))
	if err != nil {
		return err
	}
	response, err := newTransport(false).RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s: expected status 200, got %s", request.URL, response.Status)
	}
	return nil
}
