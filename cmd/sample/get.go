package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newGetCommand() *cobra.Command {
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "get URL",
		Short: "Send one GET and print the body as it came",
		Long: `Send one GET and print the body as it came. Redirects are not followed. A status of 400 or above
is printed on stderr and the exit code is 1, as it is when no answer came.`,
		Example: `  kubectl exec deploy/api -c api -- /sample get http://127.0.0.1:8080/api`,
		Args:    oneArgument("a URL"),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := errors.Join(checkURL(arguments[0]), checkPositive("timeout", timeout)); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			return get(ctx, arguments[0], command.OutOrStdout())
		},
	}
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the whole answer")
	return command
}

func get(ctx context.Context, target string, out io.Writer) (err error) {
	request, err := newUnrepeatableRequest(ctx, target)
	if err != nil {
		return err
	}
	response, err := newTransport(false).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("GET %s: %w", target, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if _, err := io.Copy(out, response.Body); err != nil {
		return fmt.Errorf("GET %s: reading the body: %w", target, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: expected a status below 400, got %s", target, response.Status)
	}
	return nil
}
