package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/tokens"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

func newTokensCommand() *cobra.Command {
	var c tokens.Config
	var id string
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "Fetch JWT-SVIDs, and the keys to verify them, for the Envoy of an injected pod",
		Long: "Fetch JWT-SVIDs, and the keys to verify them, for the Envoy of an injected pod. This is what the container " +
			"spiffe-jwt runs, in pods whose\n" +
			"inbound or upstreams have jwt.\n\n" +
			"Keys are served on a Unix socket as they are; a token is renewed after half of its TTL, and taken away when it " +
			"expires.\n\n" +
			"Exit codes: 0 ended by a signal, 1 failed, 2 called wrongly.",
		Example: "  spire-injector tokens --workload-api unix:///run/spire/sockets/agent.sock --spiffe-id " +
			"spiffe://example.org/web --audience spiffe://example.org/api",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.ID, err = spiffeid.FromString(id); err != nil {
				return usageError{fmt.Errorf("--spiffe-id: expected one such as spiffe://example.org/web, got %q: %w", id, err)}
			}
			if c.WorkloadAPI == "" {
				return usageError{errors.New("--workload-api: expected the agent's address, " +
					"such as unix:///run/spire/sockets/agent.sock, got nothing")}
			}
			c.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return tokens.Run(ctx, c)
		},
	}
	cmd.Flags().StringVar(&c.WorkloadAPI, "workload-api", "", "address of the Workload API")
	cmd.Flags().StringVar(&id, "spiffe-id", "", "the identity whose tokens are fetched")
	cmd.Flags().StringArrayVar(&c.Audiences, "audience", nil, "fetch tokens for it; may be given several times")
	cmd.Flags().StringVar(&c.Dir, "dir", templates.JWTDir, "directory for tokens and the socket with the keys")
	cmd.Flags().StringVar(&c.ProbeAddress, "probe-address", fmt.Sprintf(":%d", ir.JWTProbePort),
		"where GET "+templates.ReadinessPath+" answers")
	return cmd
}
