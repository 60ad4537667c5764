package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func newSVIDCommand() *cobra.Command {
	var (
		socket  string
		timeout time.Duration
		format  outputFormat
	)
	command := &cobra.Command{
		Use:   "svid",
		Short: "Fetch this workload's X.509 SVIDs from the SPIRE agent",
		Long: `Fetch the X.509 SVIDs that the SPIRE agent gives to this very container, and print their IDs and
expiry. The agent is asked at --socket, or else at $SPIFFE_ENDPOINT_SOCKET. The exit code is 1, with the
agent's error, when there is none.`,
		Example: `  sample svid --socket unix:///run/spire/sockets/agent.sock -o json`,
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkSocket(socket); err != nil {
				return err
			}
			if err := checkPositive("timeout", timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			svids, err := workloadapi.FetchX509SVIDs(ctx, workloadapi.WithAddr(socket))
			if err != nil {
				return fmt.Errorf("the agent at %s gave no SVID: %w", socket, err)
			}
			return writeSVIDs(command.OutOrStdout(), format, describeSVIDs(svids))
		},
	}
	addSocketFlag(command, &socket)
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the agent")
	addOutputFlag(command, &format)
	return command
}

// svidDescription is one element of what `svid -o json` prints.
type svidDescription struct {
	ID        string    `json:"id"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Hint      string    `json:"hint,omitempty"`
}

func describeSVIDs(svids []*x509svid.SVID) []svidDescription {
	descriptions := make([]svidDescription, 0, len(svids))
	for _, svid := range svids {
		leaf := svid.Certificates[0]
		descriptions = append(descriptions, svidDescription{
			ID:        svid.ID.String(),
			Serial:    leaf.SerialNumber.Text(16),
			NotBefore: leaf.NotBefore,
			NotAfter:  leaf.NotAfter,
			Hint:      svid.Hint,
		})
	}
	return descriptions
}

func writeSVIDs(out io.Writer, format outputFormat, svids []svidDescription) error {
	if format == outputJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(svids)
	}
	for _, svid := range svids {
		printf(out, "%s serial %s, from %s to %s\n",
			svid.ID, svid.Serial, svid.NotBefore.Format(time.RFC3339), svid.NotAfter.Format(time.RFC3339))
	}
	return nil
}
