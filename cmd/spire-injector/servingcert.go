package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// tenYears is how long a certificate is valid that nobody renews.
const tenYears = 10 * 365 * 24 * time.Hour

func newServingCertCommand() *cobra.Command {
	var cluster clusterFlags
	var names serveFlags
	issue := servingcert.Issue{}
	cmd := &cobra.Command{
		Use:   "serving-cert",
		Short: "Make the webhook's serving certificate, and have the API server trust it",
		Long: "Make the webhook's serving certificate, and have the API server trust it: the certificate goes into a " +
			"Secret, its CA into the webhook\n" +
			"configurations, with your own rights, so that the injector needs none to change them. The CA's key is not " +
			"kept.\n\n" +
			"A certificate that is good for another 90 days stays. With --renew there is a new one: replicas present it " +
			"once the API server trusts it,\n" +
			"and no request is lost.",
		Example: "  spire-injector serving-cert\n" +
			"  spire-injector serving-cert --renew",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if issue.Valid <= servingcert.RenewBefore {
				return usageError{fmt.Errorf("--valid-for: expected more than %s, got %s", servingcert.RenewBefore, issue.Valid)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			issue.Source, issue.Host = names.certificate(), names.host()
			return issueCertificate(ctx, cluster, issue, cmd.OutOrStdout())
		},
	}
	cluster.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&names.namespace, "namespace", "n", "spire-injector", "namespace of the injector")
	names.addCertificate(flags)
	flags.DurationVar(&issue.Valid, "valid-for", tenYears, "how long the certificate and its CA are valid")
	flags.BoolVar(&issue.Renew, "renew", false, "make a new one also if there is a good one")
	return cmd
}

func issueCertificate(ctx context.Context, cluster clusterFlags, issue servingcert.Issue, out io.Writer) error {
	config, err := cluster.config()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if issue.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("setting up the client of %s: %w", config.Host, err)
	}
	issued, err := issue.Do(ctx, time.Now())
	if err != nil {
		return err
	}
	what := "kept"
	if issued.New {
		what = "made"
	}
	if _, err := fmt.Fprintf(out, "secret %s: %s, for %s until %s\n", issue.Source.Secret, what, issue.Host,
		issued.NotAfter.UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	for _, kind := range issued.Patched {
		if _, err := fmt.Fprintf(out, "%s %s: trusts it\n", kind, issue.Source.Configuration); err != nil {
			return err
		}
	}
	return nil
}
