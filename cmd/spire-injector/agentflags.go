package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// agentFlags say which agent is asked, and for whom.
type agentFlags struct{ address, id string }

func (f *agentFlags) add(cmd *cobra.Command, idUsage string) {
	cmd.Flags().StringVar(&f.address, "workload-api", "", "address of the Workload API")
	cmd.Flags().StringVar(&f.id, "spiffe-id", "", idUsage)
}

// identity is for whom; the address is there then. The example is an identity that would do.
func (f *agentFlags) identity(example string) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(f.id)
	if err != nil {
		return id, usageError{fmt.Errorf("--spiffe-id: expected one such as %s, got %q: %w", example, f.id, err)}
	}
	if f.address == "" {
		return id, usageError{errors.New("--workload-api: expected the agent's address, " +
			"such as unix:///run/spire/sockets/agent.sock, got nothing")}
	}
	return id, nil
}
