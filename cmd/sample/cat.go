package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newCatCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "cat FILE",
		Short:   "Print a file as it is, where there is no shell",
		Long:    "Print a file of this container as it is. Images without a shell have nothing else that does.",
		Example: `  kubectl exec deploy/generator -- /sample cat /certs/svid.0.pem`,
		Args:    oneArgument("a file"),
		RunE: func(command *cobra.Command, arguments []string) error {
			content, err := os.ReadFile(arguments[0])
			if err != nil {
				return err
			}
			if _, err := command.OutOrStdout().Write(content); err != nil {
				return fmt.Errorf("printing %s: %w", arguments[0], err)
			}
			return nil
		},
	}
}
