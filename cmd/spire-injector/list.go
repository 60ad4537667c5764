package main

import (
	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

func newListCommand() *cobra.Command {
	var flags answerFlags
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all injected workloads, and those that asked and are not",
		Long: "List all injected workloads of a cluster: identity, mode, whom they let in, the sidecar beside the one of the " +
			"platform file, and the configuration that\n" +
			"Envoy is given now, as a digest: pods of one workload with two digests are on their way from one to the other. " +
			"JSON has also the upstreams, and\n" +
			"where peers were written: on the pod, on its Namespace, or in the platform file.\n\n" +
			"Workloads that asked for injection and run without are listed with the reason and what to do, and so are those " +
			"whose label or annotations stand where\n" +
			"they do nothing. It only reads: pods, workloads, Services, EndpointSlices, Namespaces, the injector's Deployment " +
			"and ConfigMap, and its webhooks'\n" +
			"registration. What it may not read it names, and what that leaves open. With -f it lists what manifests would " +
			"make.\n\n" +
			"Exit codes: 0 listed, 1 failed, 2 called wrongly.",
		Example: "  spire-injector list\n" +
			"  spire-injector list -n shop -o json | jq '.workloads[] | select(.state != \"injected\")'\n" +
			"  spire-injector list -f deployment.yaml --config config.yaml",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			facts, err := flags.facts(cmd, true)
			if err != nil {
				return err
			}
			list := answers.NewMesh(facts).List(flags.namespace)
			if output == outputJSON {
				return list.WriteJSON(cmd.OutOrStdout())
			}
			return list.WriteText(cmd.OutOrStdout())
		},
	}
	flags.add(cmd, "namespace whose workloads are listed (default all); with -f also that of documents that name none")
	flags.addFiles(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	return cmd
}
