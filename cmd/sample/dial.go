package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDialCommand() *cobra.Command {
	var (
		overTLS, plain bool
		path           string
		headers        []string
		timeout        time.Duration
	)
	command := &cobra.Command{
		Use:   "dial ADDRESS",
		Short: "Call a port as somebody without an identity would",
		Long: `Call a port as somebody without an identity would: over TLS without a client certificate (the
server's is not verified), or in plain text. It sends one GET and prints what happened. The exit code
is 0 when an HTTP answer came, whatever its status, and 1 when the caller was refused.`,
		Example: `  sample dial api.demo.svc:8443 --tls
  sample dial api.demo.svc:8443 --plain`,
		Args: oneArgument("a host:port"),
		RunE: func(command *cobra.Command, arguments []string) error {
			address := arguments[0]
			if _, _, err := net.SplitHostPort(address); err != nil {
				return usagef("expected an address like api.demo.svc:8443: %w", err)
			}
			if overTLS == plain {
				return usagef("expected exactly one of --tls and --plain")
			}
			if err := checkPositive("timeout", timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			answered, err := dial(ctx, address, path, headers, overTLS)
			if err != nil {
				printf(command.OutOrStdout(), "refused: %v\n", err)
				return errReported
			}
			printf(command.OutOrStdout(), "answered: %s\n", answered)
			return nil
		},
	}
	flags := command.Flags()
	flags.BoolVar(&overTLS, "tls", false, "TLS without a client certificate")
	flags.BoolVar(&plain, "plain", false, "plain text")
	flags.StringVar(&path, "path", "/api", "path to ask for")
	flags.StringArrayVar(&headers, "header", nil, "a header to send, \"Name: value\"; may be repeated")
	flags.DurationVar(&timeout, "timeout", 5*time.Second, "how long everything may take")
	return command
}

// dial sends one GET and describes the answer. Its error tells in which step the caller failed.
//
// With TLS 1.3 the handshake succeeds for the client before the server has looked at the client's
// certificate, so "certificate required" shows only when the answer is read.
func dial(
	ctx context.Context, address, path string, headers []string, overTLS bool,
) (description string, err error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = connection.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return "", fmt.Errorf("setting the deadline: %w", err)
		}
	}
	spoken := "plain text"
	if overTLS {
		secured := tls.Client(connection, &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // the point is what the server does with us
			MinVersion:         tls.VersionTLS12,
		})
		if err := secured.HandshakeContext(ctx); err != nil {
			return "", fmt.Errorf("TLS handshake: %w", err)
		}
		connection, spoken = secured, describePeer(secured.ConnectionState())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	if err := addHeaders(request, headers); err != nil {
		return "", err
	}
	request.Close = true
	if err := request.Write(connection); err != nil {
		// A server that refuses may be gone before the request is out; its reason is then waiting to be read.
		if _, reason := connection.Read(make([]byte, 1)); reason != nil && !errors.Is(reason, io.EOF) {
			return "", fmt.Errorf("sending the request: %w", reason)
		}
		return "", fmt.Errorf("sending the request: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), request)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("reading the answer: the server closed the connection without one (%w)", err)
	}
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	body, err := readExcerpt(response.Body)
	if err != nil {
		return "", fmt.Errorf("reading the body: %w", err)
	}
	return fmt.Sprintf("%s %q over %s", response.Status, answer{Body: body}.summary(), spoken), nil
}

// describePeer names the TLS version and whom the server claims to be, unverified.
func describePeer(state tls.ConnectionState) string {
	var names []string
	if len(state.PeerCertificates) > 0 {
		for _, uri := range state.PeerCertificates[0].URIs {
			names = append(names, uri.String())
		}
	}
	if len(names) == 0 {
		return tls.VersionName(state.Version)
	}
	return fmt.Sprintf("%s, server %s (not verified)", tls.VersionName(state.Version), strings.Join(names, ", "))
}
