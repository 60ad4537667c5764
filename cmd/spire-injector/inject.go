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
	var entries bool
	cmd := &cobra.Command{
		Use:   "inject -f FILE|-",
		Short: "Inject manifests offline, exactly as the webhook would",
		Long: "Inject manifests offline, exactly as the webhook would, and print them. Pods and the pod templates of " +
			"workloads are injected,\n" +
			"Namespaces in the input give their defaults, every other document passes through as it is.\n\n" +
			"Annotations of a pod, or of its Namespace:\n\n" + intent.Reference() + "\n" +
			"Exit codes: 0 printed, 1 refused (nothing is printed, every mistake is on stderr), 2 called wrongly.",
		Example: "  spire-injector inject -f deployment.yaml --config config.yaml | kubectl apply -f -\n" +
			"  spire-injector inject -f deployment.yaml --config config.yaml --entries",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("expected -f FILE, or -f - for standard input")}
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
			for _, warning := range out.Warnings {
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
