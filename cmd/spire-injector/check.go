package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
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

// reading is the configuration of clients that read much.
func (f clusterFlags) reading() (*rest.Config, error) {
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	config.Timeout = 30 * time.Second // of each request
	config.QPS = -1                   // the API server has its own limits
	// An injected pod carries its configuration in annotations: as JSON, decoding is most of what reading takes.
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return config, nil
}

func newCheckCommand() *cobra.Command {
	var cluster clusterFlags
	var names check.Names
	var output string
	var suppositions []string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look over a cluster: what keeps, or would keep, pods from their identities",
		Long: "Look over a cluster: versions, SPIRE and its settings, agents and their socket, the injector's replicas, " +
			"webhooks and certificates, the platform file\n" +
			"and its claims, federation, registration entries, the rollout to running pods, and apps that can be reached " +
			"around their Envoy. Of several\n" +
			"SPIREs it looks at the one that the injector calls.\n\n" +
			"Then at all workloads: those that asked and are not injected, mistakes on Namespaces, whose next pod would be denied, " +
			"apps that do not listen, SVIDs\n" +
			"that nobody renews, Services past the sidecars, calls that cannot pass, and outdated sidecars. explain says more of " +
			"each. Of the Envoys it asks some on\n" +
			"each node for their SVID, which takes the right to create pods/portforward, and those that are not ready whether their " +
			"app listens.\n\n" +
			"With --if it looks at one namespace as if its label spiffe.io/inject had another value, and says which workloads that " +
			"would hurt. Nothing is changed.\n\n" +
			"It only reads. What replicas know they are asked through the API server, which takes the right to get " +
			"pods/proxy; and the API server is asked\n" +
			"to try, without creating it, a pod that the injector has to refuse.\n\n" +
			"Each line is ok, warning (it works, with a risk or a cost) or error, with what to do about it.\n\n" +
			"Exit codes: 0 no error, 1 errors, 2 called wrongly.",
		Example: "  spire-injector check\n" +
			"  spire-injector check --if legacy=required\n" +
			"  spire-injector check --context production -o json | jq '.findings[] | select(.status != \"ok\")'",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			supposed, err := parseSuppositions(suppositions)
			if err != nil {
				return err
			}
			report, err := lookOver(ctx, cluster, names, supposed)
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
	cmd.Flags().StringArrayVar(&suppositions, "if", nil,
		"NAMESPACE=enabled|required|disabled: whom that label would hurt; may be given several times")
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	return cmd
}

// parseSuppositions reads the values of --if.
func parseSuppositions(flags []string) ([]answers.Supposition, error) {
	var out []answers.Supposition
	for _, flag := range flags {
		s, err := answers.ParseSupposition(flag)
		if err != nil {
			return nil, usageError{fmt.Errorf("--if: %w", err)}
		}
		out = append(out, s)
	}
	return out, nil
}

// answerOf is what the command ends with: warnings are for people to weigh.
func answerOf(r check.Report) error {
	if r.Errors > 0 {
		return errors.New("the check found errors")
	}
	return nil
}

// lookOver reads a cluster and judges it, or what it would be with other labels. The error is that it cannot be reached.
func lookOver(
	ctx context.Context, cluster clusterFlags, names check.Names, supposed []answers.Supposition,
) (check.Report, error) {
	var wait sync.WaitGroup
	var workloads []check.Finding
	var failed error
	wait.Go(func() { workloads, failed = lookAtWorkloads(ctx, cluster, names, supposed) })
	if len(supposed) > 0 {
		wait.Wait()
		return check.NewReport(workloads), failed
	}
	platform, err := lookAtPlatform(ctx, cluster, names)
	wait.Wait()
	if err != nil {
		return check.Report{}, err
	}
	if failed != nil {
		workloads = []check.Finding{{
			Check:    "workloads",
			Status:   check.Error,
			Found:    failed.Error(),
			Expected: "to read them",
			Remedy:   "run the check as somebody who may list pods: workloads are not checked",
		}}
	}
	return check.NewReport(slices.Concat(platform, workloads)), nil
}

// lookAtPlatform looks at the injector and what it lives with.
func lookAtPlatform(ctx context.Context, cluster clusterFlags, names check.Names) ([]check.Finding, error) {
	config, err := cluster.reading()
	if err != nil {
		return nil, err
	}
	client, err := check.Connect(config)
	if err != nil {
		return nil, fmt.Errorf("setting up the client of %s: %w", config.Host, err)
	}
	facts := check.Gatherer{
		Client:   client,
		Names:    names,
		Settings: settingsOf,
		Hash:     platformfile.Hash,
		Now:      time.Now,
	}.Gather(ctx)
	if err := facts.Unread[check.SourceVersion]; err != nil {
		return nil, fmt.Errorf("asking the API server %s: %w", config.Host, err)
	}
	return check.Judge(facts), nil
}

// lookAtWorkloads looks at who is injected, who is not, and who calls whom.
func lookAtWorkloads(
	ctx context.Context, cluster clusterFlags, names check.Names, supposed []answers.Supposition,
) ([]check.Finding, error) {
	from := answerFlags{cluster: cluster, injector: names.Namespace}
	facts, envoys, err := from.fromCluster(ctx, answers.Gatherer{Version: buildVersion()})
	if err != nil {
		return nil, err
	}
	facts = facts.Lasting()
	var found []answers.Finding
	if len(supposed) > 0 {
		if found, err = answers.NewMesh(facts).Suppose(supposed); err != nil {
			return nil, err
		}
	} else {
		envoys.Ask(ctx, &facts, facts.Unready(), answers.Questions{Readiness: true})
		envoys.Ask(ctx, &facts, facts.OfEachNode(), answers.Questions{Certificates: true})
		found = answers.NewMesh(facts).Findings()
	}
	out := make([]check.Finding, len(found))
	for i, f := range found {
		out[i] = check.Finding{
			Check:    f.Check,
			Status:   check.Status(f.Severity),
			Where:    f.Where,
			Found:    f.Found,
			Expected: f.Expected,
			Remedy:   f.Remedy,
		}
	}
	return out, nil
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
