package main

import (
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

// drawings are the forms in which a graph is printed.
var drawings = map[string]func(answers.Graph, io.Writer) error{
	outputText: answers.Graph.WriteText,
	outputJSON: answers.Graph.WriteJSON,
	"dot":      answers.Graph.WriteDOT,
	"mermaid":  answers.Graph.WriteMermaid,
	"svg":      answers.Graph.WriteSVG,
	"html":     answers.Graph.WriteHTML,
}

func newGraphCommand() *cobra.Command {
	var flags answerFlags
	var selection answers.Selection
	var output string
	var fail bool
	var with, without []string
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
			"With --with or --without it draws the edges alone that a change would add or cut: that manifests are applied, or that an " +
			"item is taken from a workload's\n" +
			"lists. Of a cluster the callees' logs say which of those that are cut were used lately.\n\n" +
			"html is one file that needs no server: a picture, and a table that can be searched, in which each edge has its checks.\n\n" +
			"Exit codes: 0 drawn, 1 failed, or mismatches and denied workloads with --fail-on-mismatch, 2 called wrongly.",
		Example: "  spire-injector graph --to shop/api\n" +
			"  spire-injector graph -o html > graph.html\n" +
			"  spire-injector graph --with new-api.yaml --without 'shop/api:/ns/batch/*'\n" +
			"  spire-injector graph -f shop.yaml --config config.yaml --fail-on-mismatch",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			draw, ok := drawings[output]
			if !ok {
				return usageError{fmt.Errorf("-o: expected %s, got %q",
					strings.Join(slices.Sorted(maps.Keys(drawings)), " or "), output)}
			}
			selection.Namespace = flags.namespace
			graph, err := flags.graph(cmd, selection, with, without)
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
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text, json, dot, mermaid, svg or html")
	cmd.Flags().StringArrayVar(&with, "with", nil, "what would change if these manifests were applied; may be given several times")
	cmd.Flags().StringArrayVar(&without, "without", nil,
		"WORKLOAD:ITEM, what would change if the item were taken from its lists, such as 'shop/api:/ns/x/*'; may be given several times")
	flags.completes(cmd, false, "from", "to")
	return cmd
}

// graph draws what there is, or what a change would make different.
func (f answerFlags) graph(cmd *cobra.Command, s answers.Selection, with, without []string) (answers.Graph, error) {
	var removals []answers.Removal
	for _, flag := range without {
		r, err := answers.ParseRemoval(flag)
		if err != nil {
			return answers.Graph{}, usageError{fmt.Errorf("--without: %w", err)}
		}
		removals = append(removals, r)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	facts, envoys, err := f.read(ctx, cmd.InOrStdin())
	if err != nil {
		return answers.Graph{}, err
	}
	before := answers.NewMesh(facts)
	if len(with)+len(without) == 0 {
		return before.Graph(s)
	}
	more, err := f.manifests(with, cmd.InOrStdin())
	if err != nil {
		return answers.Graph{}, err
	}
	after := answers.NewMesh(facts.With(more))
	if err := after.Remove(removals, f.namespace); err != nil {
		return answers.Graph{}, fmt.Errorf("--without: %w", err)
	}
	graph, err := after.Difference(before, s)
	if err != nil || envoys == nil {
		return graph, err
	}
	envoys.Ask(ctx, &before.Facts, before.Callees(graph), answers.Questions{Log: true})
	return after.Difference(before, s)
}
