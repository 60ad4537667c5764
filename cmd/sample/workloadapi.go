package main

import (
	"cmp"
	"os"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// addSocketFlag adds --socket, which says where the SPIRE agent is asked.
func addSocketFlag(command *cobra.Command, socket *string) {
	given := cmp.Or(os.Getenv(workloadapi.SocketEnv), "unix:///run/spire/sockets/agent.sock")
	command.Flags().StringVar(socket, "socket", given, "the SPIRE agent's Workload API, or else $SPIFFE_ENDPOINT_SOCKET")
}

func checkSocket(socket string) error {
	if err := workloadapi.ValidateAddress(socket); err != nil {
		return usagef("--socket: expected something like unix:///run/spire/sockets/agent.sock: %w", err)
	}
	return nil
}

// idFlag is a flag whose value is a SPIFFE ID.
type idFlag struct{ spiffeid.ID }

// Set implements pflag.Value.
func (f *idFlag) Set(value string) (err error) {
	f.ID, err = spiffeid.FromString(value)
	return err
}

// Type implements pflag.Value.
func (f *idFlag) Type() string { return "id" }
