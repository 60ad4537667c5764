package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

func newListCommand() *cobra.Command {
	var flags answerFlags
	var output string
	var ask bool
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
			"With --envoys the Envoy of one pod of each workload, of 300 at most, is asked too: how long its SVID is valid, and " +
			"whether the configuration that it is\n" +
			"given is in force. This takes the rights to get pods/proxy and to create pods/portforward.\n\n" +
			"Exit codes: 0 listed, 1 failed, 2 called wrongly.",
		Example: "  spire-injector list\n" +
			"  spire-injector list -n shop -o json | jq '.workloads[] | select(.state != \"injected\")'\n" +
			"  spire-injector list -f deployment.yaml --config config.yaml",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			mesh, err := flags.listed(cmd, ask)
			if err != nil {
				return err
			}
			list := mesh.List(flags.namespace)
			if output == outputJSON {
				return list.WriteJSON(cmd.OutOrStdout())
			}
			return list.WriteText(cmd.OutOrStdout())
		},
	}
	flags.add(cmd, "namespace whose workloads are listed (default all); with -f also that of documents that name none")
	flags.addFiles(cmd)
	cmd.Flags().BoolVar(&ask, "envoys", false, "ask the Envoy of one pod of each workload")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	flags.completes(cmd, false)
	return cmd
}

// listed reads a cluster or manifests, and asks an Envoy of each workload that runs.
func (f answerFlags) listed(cmd *cobra.Command, ask bool) (*answers.Mesh, error) {
	if len(f.files) > 0 || !ask {
		facts, err := f.facts(cmd, true)
		return answers.NewMesh(facts), err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	facts, envoys, err := f.fromCluster(ctx, answers.Gatherer{Namespace: f.namespace, Only: f.namespace != ""})
	if err != nil {
		return nil, err
	}
	mesh := answers.NewMesh(facts)
	envoys.Ask(ctx, &mesh.Facts, mesh.OfEachWorkload(f.namespace), answers.Questions{Updates: true, Certificates: true})
	return mesh, nil
}
