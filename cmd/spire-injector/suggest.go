package main

import (
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

func newSuggestCommand() *cobra.Command {
	var flags answerFlags
	var output string
	cmd := &cobra.Command{
		Use:   "suggest WORKLOAD",
		Short: "Suggest the list of peers that goes with the callers that were seen",
		Long: "Suggest the list of peers of a workload, by who was seen to call it: let in under enforcement audit, refused, or in the " +
			"list already. It names callers\n" +
			"in plain text by their pod, items of the list that nobody was seen with, and Services that lead past the sidecar. It prints " +
			"the annotation, and the\n" +
			"commands that write it; it changes nothing.\n\n" +
			"It reads the last lines of the logs of the Envoys of up to 50 pods, and says from when to when they reach: who calls " +
			"seldom may not be among them. An\n" +
			"identity that no trusted authority vouches for is never suggested, nor one that is quarantined.\n\n" +
			"Exit codes: 0 printed, 1 failed, 2 called wrongly.",
		Example: "  spire-injector suggest shop/api\n" +
			"  spire-injector suggest deploy/api -n shop -o json | jq -r '.remedies[]'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("expected a workload, got %d names; see spire-injector suggest --help", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			facts, envoys, err := flags.fromCluster(ctx, answers.Gatherer{Namespace: flags.namespace})
			if err != nil {
				return err
			}
			mesh := answers.NewMesh(facts)
			pods, err := mesh.Witnesses(args[0], flags.namespace)
			if err != nil {
				return err
			}
			envoys.Ask(ctx, &mesh.Facts, pods, answers.Questions{Log: true})
			suggestion, err := mesh.Suggest(args[0], flags.namespace)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return suggestion.WriteJSON(cmd.OutOrStdout())
			}
			return suggestion.WriteText(cmd.OutOrStdout())
		},
	}
	flags.add(cmd, "namespace of a name that says none (default all)")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	flags.completes(cmd, true)
	return cmd
}
