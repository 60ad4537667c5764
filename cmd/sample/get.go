package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newGetCommand() *cobra.Command {
	var (
		headers []string
		timeout time.Duration
	)
	command := &cobra.Command{
		Use:   "get URL",
		Short: "Send one GET and print the body as it came",
		Long: `Send one GET and print the body as it came. Redirects are not followed. A status of 400 or above
is printed on stderr and the exit code is 1, as it is when no answer came.`,
		Example: `  kubectl exec deploy/api -c api -- /sample get http://127.0.0.1:8080/api
  sample get http://127.0.0.1:8000/echo --header 'Host: api.example.org' --header 'X-Name: value'`,
		Args: oneArgument("a URL"),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := errors.Join(checkURL(arguments[0]), checkPositive("timeout", timeout)); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			request, err := newUnrepeatableRequest(ctx, arguments[0])
			if err != nil {
				return err
			}
			if err := addHeaders(request, headers); err != nil {
				return err
			}
			return get(request, command.OutOrStdout())
		},
	}
	command.Flags().StringArrayVar(&headers, "header", nil, "a header to send, \"Name: value\"; may be repeated")
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the whole answer")
	return command
}

// addHeaders adds each "Name: value". The host is no header to net/http.
func addHeaders(request *http.Request, headers []string) error {
	for _, header := range headers {
		name, value, found := strings.Cut(header, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !found || name == "":
			return usagef(`--header: expected something like "X-Name: value", got %q`, header)
		case strings.EqualFold(name, "Host"):
			request.Host = value
		default:
			request.Header.Add(name, value)
		}
	}
	return nil
}

func get(request *http.Request, out io.Writer) (err error) {
	response, err := newTransport(false).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("GET %s: %w", request.URL, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if _, err := io.Copy(out, response.Body); err != nil {
		return fmt.Errorf("GET %s: reading the body: %w", request.URL, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: expected a status below 400, got %s", request.URL, response.Status)
	}
	return nil
}
