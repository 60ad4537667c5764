// Cluster starts and stops the real Kubernetes cluster on which the demos and the end-to-end tests run.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/command"
)

func main() {
	os.Exit(command.Run("cluster", newCommand()))
}

func newCommand() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:   "cluster",
		Short: "A real Kubernetes cluster on this machine, from source",
		Long: `A real Kubernetes cluster on this machine, of one node or some, in namespaces of its own.

The programs are built from pinned sources, or fetched, on first use, which takes up to half an hour on two processors,
and kept in the user's cache directory. From then on "up" takes seconds. It needs Linux and root.`,
		Example: `  go run ./test/cluster up
  export KUBECONFIG=$(go run ./test/cluster kubeconfig)
  go run ./test/cluster load my-image.tar
  go run ./test/cluster down`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	root.CompletionOptions.DisableDefaultCmd = true
	s.register(root)
	for _, c := range []*cobra.Command{s.up(), s.down(), s.status(), s.load(), s.build(), s.kubeconfig()} {
		args := c.Args
		c.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return command.UsageError{Err: err}
			}
			return nil
		}
		root.AddCommand(c)
	}
	return root
}
