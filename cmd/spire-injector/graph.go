package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

// drawings are the forms in which a graph is printed.
var drawings = map[string]func(answers.Graph, io.Writer) error{
	outputText: answers.Graph.WriteText,
	outputJSON: answers.Graph.WriteJSON,
	"dot":      answers.Graph.WriteDOT,
	"mermaid":  answers.Graph.WriteMermaid,
}

func newGraphCommand() *cobra.Command {
	var flags answerFlags
	var selection answers.Selection
	var output string
	var fail bool
	cmd := &cobra.Command{
		Use:   "graph",
		Short: "Show who may call whom, and where two sides disagree",
		Long: "Show who may call whom, of a cluster or of manifests: an edge for each upstream of a workload and each workload " +
			"that its address leads to.\n\n" +
			"  agrees    the address leads to Envoy, the caller accepts its identity, and is in its list\n" +
			"  mismatch  one of it is not so: the reason and the remedy are below\n" +
			"  unknown   what is known does not say it, as of a Service without selector\n" +
			"  outside   the server is outside the mesh\n" +
			"  unused    a list names the caller, which has no upstream there\n\n" +
			"Items of lists that end in /*, and those that nobody here has, are listed after the edges; with --from or --to each " +
			"workload that they let in is\n" +
			"an edge. Whether pods are ready does not matter here: explain says that.\n\n" +
			"Of manifests (-f) give all files of a namespace, with its Services: what a namespace lacks that has some is a " +
			"mismatch; one that is not in the\n" +
			"files at all is unknown.\n\n" +
			"Exit codes: 0 drawn, 1 failed, or mismatches and denied workloads with --fail-on-mismatch, 2 called wrongly.",
		Example: "  spire-injector graph --to shop/api\n" +
			"  spire-injector graph -o dot | dot -Tsvg > graph.svg\n" +
			"  spire-injector graph -f shop.yaml --config config.yaml --fail-on-mismatch",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			draw, ok := drawings[output]
			if !ok {
				return usageError{fmt.Errorf("-o: expected %s, got %q",
					strings.Join(slices.Sorted(maps.Keys(drawings)), " or "), output)}
			}
			facts, err := flags.facts(cmd, false)
			if err != nil {
				return err
			}
			selection.Namespace = flags.namespace
			graph, err := answers.NewMesh(facts).Graph(selection)
			if err != nil {
				return err
			}
			if err := draw(graph, cmd.OutOrStdout()); err != nil {
				return err
			}
			if n := graph.Mismatches(); fail && n > 0 {
				return fmt.Errorf("found mismatches and denied workloads: %d", n)
			}
			return nil
		},
	}
	flags.add(cmd, "namespace of either side of an edge (default all); with -f also that of documents that name none")
	flags.addFiles(cmd)
	cmd.Flags().StringVar(&selection.From, "from", "", "only calls of this workload: KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME")
	cmd.Flags().StringVar(&selection.To, "to", "", "only calls to this workload")
	cmd.Flags().BoolVar(&fail, "fail-on-mismatch", false, "exit with 1 if two sides disagree or a workload would be denied")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text, json, dot or mermaid")
	return cmd
}
