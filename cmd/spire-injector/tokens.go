package main

import (
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/tokens"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

func newTokensCommand() *cobra.Command {
	var c tokens.Config
	var from agentFlags
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
			if c.ID, err = from.identity("spiffe://example.org/web"); err != nil {
				return err
			}
			c.WorkloadAPI = from.address
			c.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return tokens.Run(ctx, c)
		},
	}
	from.add(cmd, "the identity whose tokens are fetched")
	cmd.Flags().StringArrayVar(&c.Audiences, "audience", nil, "fetch tokens for it; may be given several times")
	cmd.Flags().StringVar(&c.Dir, "dir", templates.JWTDir, "directory for tokens and the socket with the keys")
	cmd.Flags().StringVar(&c.ProbeAddress, "probe-address", fmt.Sprintf(":%d", ir.JWTProbePort),
		"where GET "+templates.ReadinessPath+" answers")
	return cmd
}
