package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// serverSVIDHeader carries the server's JWT-SVID in an answer.
const serverSVIDHeader = "X-JWT-SVID"

type httpsServerOptions struct {
	socket, listen, audience string
	mtls                     idFlag
}

func newHTTPSServerCommand() *cobra.Command {
	var options httpsServerOptions
	command := &cobra.Command{
		Use:   "https-server",
		Short: "Serve one caller over mutual TLS and by its JWT-SVID, without a proxy",
		Long: `Serve over mutual TLS with this container's own X.509-SVID, kept fresh from the SPIRE agent, and let in no
other ID than --mtls. A request has to bring the caller's JWT-SVID as well, for --audience, in the header
"Authorization: Bearer TOKEN"; it is verified with the trust domain's JWT bundle. The answer says who called, and brings
the server's own JWT-SVID, for the caller, in the header "X-JWT-SVID".

The log is JSON, one line for each call and one, with the reason, for each that was refused.`,
		Example: `  sample https-server --listen :443 --mtls spiffe://example.org/ns/default/sa/https-client --audience myapp`,
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.check(); err != nil {
				return err
			}
			return runHTTPSServer(command.Context(), options, newEventLog(command.OutOrStdout()))
		},
	}
	flags := command.Flags()
	addSocketFlag(command, &options.socket)
	flags.StringVar(&options.listen, "listen", ":443", "address for HTTPS; port 0 takes a free one and logs it")
	flags.StringVar(&options.audience, "audience", "CI", "whom the caller's JWT-SVID has to be for")
	flags.Var(&options.mtls, "mtls", "SPIFFE ID of the one who may call (required)")
	return command
}

func (o httpsServerOptions) check() error {
	if o.mtls.IsZero() {
		return usagef("--mtls: expected the SPIFFE ID of the one who may call")
	}
	if o.audience == "" {
		return usagef("--audience: expected the name that callers know this server by, got nothing")
	}
	return checkSocket(o.socket)
}

func runHTTPSServer(ctx context.Context, options httpsServerOptions, log *slog.Logger) error {
	log.Info("starting")
	self, err := newIdentity(ctx, options.socket)
	if err != nil {
		return err
	}
	defer self.close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := newHTTPServer(&jwtServer{self: self, audience: options.audience, log: log})
	logRefusals(server, log)
	config := tlsconfig.MTLSServerConfig(self.x509, self.x509, tlsconfig.AuthorizeID(options.mtls.ID))
	log.Info("listening", "protocol", "https", "address", listener.Addr().String())
	return serveUntilDone(ctx, server, tls.NewListener(listener, config))
}

// jwtServer answers who called, to whoever has a JWT-SVID.
type jwtServer struct {
	self     *identity
	audience string
	log      *slog.Logger
}

// ServeHTTP implements http.Handler.
func (s *jwtServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
	if err != nil { // the handshake has seen to that
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	caller, err := s.verify(r.Header.Get("Authorization"), peer)
	if err != nil {
		s.log.Info("refused", "peer", peer.String(), "reason", err.Error())
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	token, err := s.self.token(r.Context(), peer.String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.log.Info("called", "peer", peer.String(), "jwt", caller.ID.String(), "audience", s.audience)
	w.Header().Set(serverSVIDHeader, token)
	printf(w, "Login successful!\nmTLS: %s\nJWT: %s for %s\n", peer, caller.ID, s.audience)
}

// verify is the JWT-SVID in a request of peer.
func (s *jwtServer) verify(authorization string, peer spiffeid.ID) (*jwtsvid.SVID, error) {
	token, found := strings.CutPrefix(authorization, "Bearer ")
	if !found {
		return nil, errors.New(`expected a JWT-SVID in the header "Authorization: Bearer TOKEN", found none`)
	}
	svid, err := jwtsvid.ParseAndValidate(token, s.self.jwt, []string{s.audience})
	if err != nil {
		return nil, err
	}
	if svid.ID != peer { // somebody else's token, which one that it was shown to could hand on
		return nil, fmt.Errorf("expected a JWT-SVID of %s, who called, got one of %s", peer, svid.ID)
	}
	return svid, nil
}
