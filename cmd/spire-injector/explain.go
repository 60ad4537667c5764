package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
)

func newExplainCommand() *cobra.Command {
	var flags answerFlags
	var output, request string
	var ask bool
	var spire spireFlags
	cmd := &cobra.Command{
		Use:   "explain POD|KIND/NAME|SERVICE [TO]",
		Short: "Explain a workload, or whether a call from one to another would pass",
		Long: "Explain a workload: was injection asked for, is it injected or why not, would the next pod be denied, who it is, " +
			"whom it lets in, whom it calls, who calls\n" +
			"it, and where each was written: on the pod, on its Namespace, or in the platform file. A Service stands for what " +
			"is behind it.\n\n" +
			"With TO, explain whether a call would pass, as checks in the order in which it would meet them: both sides and their " +
			"identities, the caller's upstream, the\n" +
			"Service's port, ready endpoints, the expected identity, the callee's list, and with --request the method and path. " +
			"Below the first that fails is the remedy.\n\n" +
			"Of a cluster it also asks the Envoys of some of the pods: for their SVID and its expiry, whether they rejected what they " +
			"were given, whether the app listens,\n" +
			"and, in the end of their logs, who was refused lately, how often, since when and why, from both sides of a call, and how " +
			"far back that reaches. This takes\n" +
			"the rights to get pods/proxy and pods/log and to create pods/portforward; --envoys=false leaves it out.\n\n" +
			"With --spire it asks SPIRE's server whether the registration entries exist, and are placed on the pods' nodes. It calls " +
			"SPIRE as the injector does, and runs\n" +
			"where that can: in its pod. Otherwise an entry is what the webhook registered when it admitted the pod.\n\n" +
			"Names are POD, KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME. NetworkPolicies are not read. What is not known is " +
			"unknown, and no check passes for it.\n\n" +
			"Exit codes: 0 nothing of the workload or the call fails, also if a call of somebody else to it does, 1 something fails " +
			"or cannot be found, 2 called wrongly.",
		Example: "  spire-injector explain shop/api\n" +
			"  spire-injector explain deploy/web deploy/api -n shop --request 'GET /v1/users'\n" +
			"  spire-injector explain shop/web shop/api -f shop.yaml --config config.yaml\n" +
			"  kubectl -n spire-injector exec deployment/spire-injector -- /spire-injector explain shop/api --spire --envoys=false \\\n" +
			"    --config /etc/spire-injector/config.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{fmt.Errorf("expected a workload, or a caller and a callee, got %d names; see spire-injector explain --help",
					len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			asked, err := answers.ParseRequest(request)
			switch {
			case err != nil:
				return usageError{fmt.Errorf("--request: %w", err)}
			case request != "" && len(args) == 1:
				return usageError{errors.New("--request: expected a caller and a callee")}
			}
			mesh, err := flags.witnessed(cmd, args, ask)
			if err != nil {
				return err
			}
			if spire.ask {
				if err := spire.askInto(cmd.Context(), mesh, flags); err != nil {
					return err
				}
			}
			explanation, err := explain(mesh, args, flags.namespace, asked)
			if err != nil {
				return err
			}
			write := explanation.WriteText
			if output == outputJSON {
				write = explanation.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !explanation.Passes {
				return errors.New("a check fails")
			}
			return nil
		},
	}
	flags.add(cmd, "namespace of names that say none (default all); with -f also that of documents that name none")
	flags.addFiles(cmd)
	cmd.Flags().StringVar(&request, "request", "", "method and path of the call, such as 'GET /v1/users'")
	spire.add(cmd)
	cmd.Flags().BoolVar(&ask, "envoys", true, "ask the Envoys of running pods")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	flags.completes(cmd, true)
	return cmd
}

// witnessed reads a cluster, and asks the Envoys of what names stand for; or it reads manifests.
func (f answerFlags) witnessed(cmd *cobra.Command, names []string, ask bool) (*answers.Mesh, error) {
	if len(f.files) > 0 || !ask {
		facts, err := f.facts(cmd, false)
		return answers.NewMesh(facts), err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	facts, envoys, err := f.fromCluster(ctx, answers.Gatherer{Namespace: f.namespace})
	if err != nil {
		return nil, err
	}
	mesh := answers.NewMesh(facts)
	envoys.Ask(ctx, &mesh.Facts, mesh.PodsOf(f.namespace, names...), answers.Questions{
		Readiness:    true,
		Updates:      true,
		Certificates: true,
		Log:          true,
	})
	return mesh, nil
}

func explain(m *answers.Mesh, names []string, namespace string, r answers.Request) (answers.Explanation, error) {
	if len(names) == 1 {
		return m.Explain(names[0], namespace)
	}
	return m.ExplainCall(names[0], names[1], namespace, r)
}
