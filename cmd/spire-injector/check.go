package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/check"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
)

// clusterFlags say which cluster is asked, as those of kubectl do.
type clusterFlags struct{ kubeconfig, context string }

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "",
		"kubeconfig file (default $KUBECONFIG, or ~/.kube/config, or the pod's own rights)")
	cmd.Flags().StringVar(&f.context, "context", "", "context in it (default its current one)")
}

func (f clusterFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w; set KUBECONFIG, or name a file with --kubeconfig "+
			"and a context with --context", err)
	}
	return config, nil
}

func newCheckCommand() *cobra.Command {
	var cluster clusterFlags
	var names check.Names
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look over a cluster: what keeps, or would keep, pods from their identities",
		Long: "Look over a cluster: versions, SPIRE and its settings, agents and their socket, the injector's replicas, " +
			"webhooks and certificates, the platform file\n" +
			"and its claims, federation, registration entries, the rollout to running pods, and apps that can be reached " +
			"around their Envoy. Of several\n" +
			"SPIREs it looks at the one that the injector calls.\n\n" +
			"It only reads. What replicas know they are asked through the API server, which takes the right to get " +
			"pods/proxy; and the API server is asked\n" +
			"to try, without creating it, a pod that the injector has to refuse.\n\n" +
			"Each line is ok, warning (it works, with a risk or a cost) or error, with what to do about it.\n\n" +
			"Exit codes: 0 no error, 1 errors, 2 called wrongly.",
		Example: "  spire-injector check\n" +
			"  spire-injector check --context production -o json | jq '.findings[] | select(.status != \"ok\")'",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			report, err := lookOver(ctx, cluster, names)
			if err != nil {
				return err
			}
			write := report.WriteText
			if output == outputJSON {
				write = report.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			return answerOf(report)
		},
	}
	cluster.add(cmd)
	cmd.Flags().StringVarP(&names.Namespace, "namespace", "n", "spire-injector", "namespace of the injector")
	cmd.Flags().StringVar(&names.SPIRE, "spire-namespace", "spire",
		"namespace of SPIRE; elsewhere it is found by its images")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	return cmd
}

// answerOf is what the command ends with: warnings are for people to weigh.
func answerOf(r check.Report) error {
	if r.Errors > 0 {
		return errors.New("the check found errors")
	}
	return nil
}

// lookOver reads a cluster and judges it. The error is that it cannot be reached.
func lookOver(ctx context.Context, cluster clusterFlags, names check.Names) (check.Report, error) {
	config, err := cluster.config()
	if err != nil {
		return check.Report{}, err
	}
	config.Timeout = 30 * time.Second // of each request
	config.QPS = -1                   // the API server has its own limits
	client, err := check.Connect(config)
	if err != nil {
		return check.Report{}, fmt.Errorf("setting up the client of %s: %w", config.Host, err)
	}
	facts := check.Gatherer{
		Client:   client,
		Names:    names,
		Settings: settingsOf,
		Hash:     platformfile.Hash,
		Now:      time.Now,
	}.Gather(ctx)
	if err := facts.Unread[check.SourceVersion]; err != nil {
		return check.Report{}, fmt.Errorf("asking the API server %s: %w", config.Host, err)
	}
	return check.NewReport(check.Judge(facts)), nil
}

// Forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

func checkOutput(output string) error {
	if output != outputText && output != outputJSON {
		return usageError{fmt.Errorf("-o: expected %s or %s, got %q", outputText, outputJSON, output)}
	}
	return nil
}

// settingsOf reads the arguments of a running injector. Flags of another version are passed over.
func settingsOf(arguments []string) (check.Settings, error) {
	var f serveFlags
	cmd := serveCommand(&f)
	cmd.FParseErrWhitelist.UnknownFlags = true
	if err := cmd.ParseFlags(arguments); err != nil {
		return check.Settings{}, err
	}
	rate, err := parseRolloutRate(f.rolloutRate)
	if err != nil {
		return check.Settings{}, err
	}
	return check.Settings{
		Config:        f.config,
		Webhooks:      f.webhookConfig,
		Lease:         f.leaderElectionName,
		Resync:        f.resync,
		RolloutRate:   float64(rate),
		MetricsPort:   portOf(f.metricsAddress),
		MetricsSecure: f.metricsSecure,
		HealthPort:    portOf(f.healthAddress),
	}, nil
}

// portOf is the port of an address, empty where there is none to ask.
func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
