package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/spire-injector/spire-injector/webhook/rollout"
	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// serveFlags are the addresses and names that depend on how the program is deployed, not on what the platform decides.
type serveFlags struct {
	config             string
	configMap          string
	kubernetes         string
	namespace          string
	service            string
	secret             string
	certDir            string
	certSource         string
	webhookConfig      string
	webhookPort        int
	clientCA           string
	clientNames        []string
	metricsAddress     string
	metricsSecure      bool
	healthAddress      string
	workloadAPI        string
	logLevel           string
	leaderElectionName string
	grace              time.Duration
	resync             time.Duration
	dryRun             bool
	rolloutRate        string
}

func newServeCommand() *cobra.Command { return serveCommand(&serveFlags{}) }

// serveCommand fills its flags when it is parsed.
func serveCommand(f *serveFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the admission webhook and the registrar",
		Long: "Run the admission webhook and the registrar in a Kubernetes cluster. Two or more replicas share the work; " +
			"one leads, keeps the registration entries at what the cluster needs, and carries changes to running pods.",
		Example: "  spire-injector serve --config /etc/spire-injector/config.yaml\n" +
			"  spire-injector serve --config /etc/spire-injector/config.yaml --dry-run",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return serve(ctrl.SetupSignalHandler(), *f) },
	}
	f.add(cmd.Flags())
	return cmd
}

// add declares the flags.
func (f *serveFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "config", "/etc/spire-injector/config.yaml", "platform file")
	flags.StringVar(&f.configMap, "config-map", "",
		"ConfigMap in the injector's own namespace that the platform file is mounted from, so that its changes arrive at "+
			"once and at all replicas (default none: the file is watched)")
	flags.StringVar(&f.kubernetes, "kubernetes-version", "", kubernetesVersionUsage+" (default the API server is asked)")
	flags.StringVar(&f.namespace, "namespace", "spire-injector",
		"namespace of the injector's own Service, Secret and Lease")
	f.addCertificate(flags)
	flags.StringVar(&f.certSource, "serving-cert-source", sourceSecret,
		"where the serving certificate comes from: secret, which the install or cert-manager fills; spire, as the "+
			"injector's own X.509-SVID, which needs the Service's DNS name; or self, into that Secret by the leader, which "+
			"needs the right to change the webhook configurations, and with that is as good as cluster-admin")
	flags.StringVar(&f.certDir, "serving-cert-dir", "/run/spire-injector/serving-cert",
		"where that Secret is mounted, with the source self")
	flags.IntVar(&f.webhookPort, "webhook-port", 9443, "port of the webhook")
	flags.StringVar(&f.clientCA, "webhook-client-ca-file", "",
		"CAs in PEM of the webhook's callers, read again when the file changes: nobody is answered without a client "+
			"certificate of one of them (default none: everybody is answered)")
	flags.StringSliceVar(&f.clientNames, "webhook-client-allowed-names", nil,
		"of those, only certificates with one of these common names, DNS names or URIs (default all)")
	flags.StringVar(&f.metricsAddress, "metrics-address", ":8080", "address of Prometheus metrics, 0 for none")
	flags.BoolVar(&f.metricsSecure, "metrics-secure", false,
		"serve metrics over TLS, with the webhook's certificate, to callers alone whose token may get /metrics: the API "+
			"server is asked")
	flags.StringVar(&f.healthAddress, "health-address", ":8081", "address of /healthz and /readyz, 0 for none")
	flags.StringVar(&f.workloadAPI, "workload-api", "",
		"socket of the SPIRE agent that issues the injector's own SVID (default unix:// and the platform file's "+
			"agentSocket)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.leaderElectionName, "leader-election-lease", "spire-injector",
		"Lease by which the replicas elect a leader")
	flags.DurationVar(&f.grace, "entry-grace-time", 10*time.Minute,
		"how long a registration entry stays that no pod and no pod template needs any more")
	flags.DurationVar(&f.resync, "resync-interval", 5*time.Minute,
		"time between two comparisons of all entries in SPIRE with what the cluster needs, give or take a tenth")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be changed in SPIRE, change nothing, and end")
	flags.StringVar(&f.rolloutRate, "rollout-rate", rollout.DefaultRate,
		"how many running pods a second follow a changed namespace, platform file or template version, such as 0.5 or "+
			"10/s; 0: none")
}

// addCertificate declares the flags by which the serving certificate and those who trust it are found.
func (f *serveFlags) addCertificate(flags *pflag.FlagSet) {
	flags.StringVar(&f.service, "service", "spire-injector",
		"Service by which the API server reaches the webhook; the serving certificate is for it")
	flags.StringVar(&f.secret, "serving-cert-secret", "spire-injector-serving-cert",
		"Secret that holds the serving certificate")
	flags.StringVar(&f.webhookConfig, "webhook-configuration", "spire-injector",
		"name of the MutatingWebhookConfiguration and, if there is one, the ValidatingWebhookConfiguration that register "+
			"this webhook")
}

// host is the name by which the API server calls the webhook.
func (f serveFlags) host() string { return f.service + "." + f.namespace + ".svc" }

// certificate says what the serving certificate follows, and who is to trust it.
func (f serveFlags) certificate() servingcert.Source {
	source := servingcert.Source{Configuration: f.webhookConfig}
	if f.certSource != sourceSPIRE {
		source.Secret = types.NamespacedName{Namespace: f.namespace, Name: f.secret}
	}
	return source
}

// Where the serving certificate comes from.
const (
	sourceSecret = "secret"
	sourceSPIRE  = "spire"
	sourceSelf   = "self"
)

func (f serveFlags) checkCertificate() error {
	switch f.certSource {
	case sourceSecret, sourceSPIRE, sourceSelf:
		return nil
	}
	return fmt.Errorf("--serving-cert-source: expected %s, %s or %s, got %q", sourceSecret, sourceSPIRE, sourceSelf,
		f.certSource)
}

func (f serveFlags) checkClients() error {
	if len(f.clientNames) > 0 && f.clientCA == "" {
		return errors.New("--webhook-client-allowed-names: expected --webhook-client-ca-file beside it, " +
			"without which callers present no certificate")
	}
	return nil
}

// check finds flags that make no sense. The error is a usageError.
func (f serveFlags) check() error {
	if err := errors.Join(f.checkCertificate(), f.checkClients(), f.checkEntries()); err != nil {
		return usageError{err}
	}
	return nil
}

// serve runs until a signal comes, and then for as long as callers need to go elsewhere.
func serve(signals context.Context, f serveFlags) error {
	s, err := newServer(f)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := s.shutdown.Context(signals)
	defer cancel()
	return s.run(ctx)
}

func newLogger(level string) (logr.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level: expected debug, info, warn or error, got %q", level)
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
