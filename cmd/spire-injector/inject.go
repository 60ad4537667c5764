package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/offline"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func newInjectCommand() *cobra.Command {
	var file, config, namespace, kubernetes string
	var entries, policies bool
	cmd := &cobra.Command{
		Use:   "inject -f FILE|-",
		Short: "Inject manifests offline, exactly as the webhook would",
		Long: "Inject manifests offline, exactly as the webhook would, and print them. Pods and the pod templates of " +
			"workloads are injected,\n" +
			"Namespaces in the input give their defaults, every other document passes through as it is.\n\n" +
			"Annotations of a pod, or of its Namespace:\n\n" + intent.Reference() + "\n" +
			"Exit codes: 0 printed, 1 refused (nothing is printed, every mistake is on stderr), 2 called wrongly.",
		Example: "  spire-injector inject -f deployment.yaml --config config.yaml | kubectl apply -f -\n" +
			"  spire-injector inject -f deployment.yaml --config config.yaml --entries\n" +
			"  spire-injector inject -f deployment.yaml --config config.yaml --network-policies",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case file == "":
				return usageError{errors.New("expected -f FILE, or -f - for standard input")}
			case entries && policies:
				return usageError{errors.New("expected one of --entries and --network-policies, got both")}
			}
			input, err := readInput(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			platform, _, err := platformfile.Read(config)
			if err != nil {
				return err
			}
			version, err := parseKubernetesVersion(kubernetes)
			if err != nil {
				return err
			}
			injector := inject.Injector{Platform: platform, Version: buildVersion(), Kubernetes: version}
			out, err := offline.Inject(injector, namespace, input)
			if err != nil {
				return fmt.Errorf("nothing was printed:\n%w", err)
			}
			warnings := out.Warnings
			if policies {
				more := []string(nil)
				if out.Manifests, more, err = out.NetworkPolicies(); err != nil {
					return err
				}
				warnings = append(warnings, more...)
			}
			for _, warning := range warnings {
				if _, err := fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+warning); err != nil {
					return err
				}
			}
			if entries {
				return registrar.EncodeEntries(cmd.OutOrStdout(), platform.Cluster.Entries(out.Workloads))
			}
			_, err = cmd.OutOrStdout().Write(out.Manifests)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "manifests to inject, - for standard input")
	cmd.Flags().StringVar(&config, "config", "config.yaml", "platform file")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of documents that name none")
	cmd.Flags().StringVar(&kubernetes, "kubernetes-version", "", kubernetesVersionUsage+" (default a current one)")
	cmd.Flags().BoolVar(&entries, "entries", false,
		"print the registration entries instead, as spire-server entry create -data takes them")
	cmd.Flags().BoolVar(&policies, "network-policies", false,
		"print the NetworkPolicies instead that networkPolicies: true of the platform file has the injector keep, without its "+
			"labels: those that you apply are yours")
	return cmd
}

func readInput(file string, stdin io.Reader) ([]byte, error) {
	if file == "-" {
		data, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return data, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	return data, nil
}
