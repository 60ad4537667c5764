package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

type httpsClientOptions struct {
	socket, audience string
	peer             idFlag
	timeout          time.Duration
}

func newHTTPSClientCommand() *cobra.Command {
	var options httpsClientOptions
	command := &cobra.Command{
		Use:   "https-client ADDRESS",
		Short: "Call an https-server over mutual TLS and with a JWT-SVID, without a proxy",
		Long: `Send one GET over mutual TLS with this container's own X.509-SVID, accept no other server than --peer, and bring
a JWT-SVID for --audience. Print the answer, and whose JWT-SVID it brought, verified with the trust domain's JWT bundle. The exit
code is 1, with the reason, when either side refused the other.`,
		Example: `  sample https-client https-server:443 --peer spiffe://example.org/ns/default/sa/https-server --audience myapp`,
		Args:    oneArgument("a host:port"),
		RunE: func(command *cobra.Command, arguments []string) error {
			address := arguments[0]
			if _, _, err := net.SplitHostPort(address); err != nil {
				return usagef("expected an address like https-server:443: %w", err)
			}
			if err := options.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), options.timeout)
			defer cancel()
			return callHTTPSServer(ctx, "https://"+address+"/", options, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	addSocketFlag(command, &options.socket)
	flags.StringVar(&options.audience, "audience", "CI", "whom the JWT-SVID is for")
	flags.Var(&options.peer, "peer", "SPIFFE ID that the server has to have (required)")
	flags.DurationVar(&options.timeout, "timeout", 10*time.Second, "how long everything may take")
	return command
}

func (o httpsClientOptions) check() error {
	if o.peer.IsZero() {
		return usagef("--peer: expected the SPIFFE ID that the server has to have")
	}
	if o.audience == "" {
		return usagef("--audience: expected the name of whom the JWT-SVID is for, got nothing")
	}
	return errors.Join(checkSocket(o.socket), checkPositive("timeout", o.timeout))
}

func callHTTPSServer(ctx context.Context, url string, options httpsClientOptions, out io.Writer) (err error) {
	self, err := newIdentity(ctx, options.socket)
	if err != nil {
		return err
	}
	defer self.close()
	own, err := self.x509.GetX509SVID()
	if err != nil {
		return err
	}
	token, err := self.token(ctx, options.audience)
	if err != nil {
		return err
	}
	request, err := newUnrepeatableRequest(ctx, url)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{
		TLSClientConfig:   tlsconfig.MTLSClientConfig(self.x509, self.x509, tlsconfig.AuthorizeID(options.peer.ID)),
		DisableKeepAlives: true,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if _, err := io.Copy(out, response.Body); err != nil {
		return fmt.Errorf("GET %s: reading the body: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: expected 200, got %s", url, response.Status)
	}
	server, err := jwtsvid.ParseAndValidate(response.Header.Get(serverSVIDHeader), self.jwt, []string{own.ID.String()})
	if err != nil {
		return fmt.Errorf("the answer's header %s: %w", serverSVIDHeader, err)
	}
	if server.ID != options.peer.ID {
		return fmt.Errorf(
			"the answer's header %s: expected a JWT-SVID of %s, who answered, got one of %s",
			serverSVIDHeader,
			options.peer,
			server.ID,
		)
	}
	printf(out, "Answered by: %s for %s\n", server.ID, own.ID)
	return nil
}
