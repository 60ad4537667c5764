package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/entries"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook"
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
	rotation           string
	webhookConfig      string
	webhookPort        int
	metricsAddress     string
	healthAddress      string
	workloadAPI        string
	logLevel           string
	leaderElectionName string
	grace              time.Duration
	resync             time.Duration
	dryRun             bool
	rolloutRate        string
}

// rememberedConfigs bounds the memory of generated configurations: some 15 KB each, at most 250 KB.
const rememberedConfigs = 256

// host is the name by which the API server calls the webhook.
func (f serveFlags) host() string { return f.service + "." + f.namespace + ".svc" }

func newServeCommand() *cobra.Command { return serveCommand(&serveFlags{}) }

// serveCommand fills its flags when it is parsed.
func serveCommand(f *serveFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the admission webhook and the registrar",
		Long:  "Run the admission webhook and the registrar in a Kubernetes cluster. Two or more replicas share the work; one leads, keeps the registration entries at what the cluster needs, carries changes to running pods, and keeps the serving certificate.",
		Example: "  spire-injector serve --config /etc/spire-injector/config.yaml\n" +
			"  spire-injector serve --config /etc/spire-injector/config.yaml --dry-run",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return serve(ctrl.SetupSignalHandler(), *f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "/etc/spire-injector/config.yaml", "platform file")
	flags.StringVar(&f.configMap, "config-map", "",
		"ConfigMap in the injector's own namespace that the platform file is mounted from, so that its changes arrive at once and at all replicas (default none: the file is watched)")
	flags.StringVar(&f.kubernetes, "kubernetes-version", "", kubernetesVersionUsage+" (default the API server is asked)")
	flags.StringVar(&f.namespace, "namespace", "spire-injector", "namespace of the injector's own Service, Secret and Lease")
	flags.StringVar(&f.service, "service", "spire-injector", "Service by which the API server reaches the webhook; the serving certificate is for it")
	flags.StringVar(&f.secret, "serving-cert-secret", "spire-injector-serving-cert", "Secret that holds the serving certificate")
	flags.StringVar(&f.rotation, "serving-cert-rotation", rotationSelf,
		"who fills and renews that Secret and keeps its CA in the webhook configurations: self, or external, such as cert-manager")
	flags.StringVar(&f.certDir, "serving-cert-dir", "/run/spire-injector/serving-cert", "where that Secret is mounted")
	flags.StringVar(&f.webhookConfig, "webhook-configuration", "spire-injector", "name of the MutatingWebhookConfiguration and, if there is one, the ValidatingWebhookConfiguration that register this webhook")
	flags.IntVar(&f.webhookPort, "webhook-port", 9443, "port of the webhook")
	flags.StringVar(&f.metricsAddress, "metrics-address", ":8080", "address of Prometheus metrics, 0 for none")
	flags.StringVar(&f.healthAddress, "health-address", ":8081", "address of /healthz and /readyz")
	flags.StringVar(&f.workloadAPI, "workload-api", "", "socket of the SPIRE agent that issues the injector's own SVID (default unix:// and the platform file's agentSocket)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.leaderElectionName, "leader-election-lease", "spire-injector", "Lease by which the replicas elect a leader")
	flags.DurationVar(&f.grace, "entry-grace-time", 10*time.Minute, "how long a registration entry stays that no pod and no pod template needs any more")
	flags.DurationVar(&f.resync, "resync-interval", 5*time.Minute, "time between two comparisons of all entries in SPIRE with what the cluster needs, give or take a tenth")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be changed in SPIRE, change nothing, and end")
	flags.StringVar(&f.rolloutRate, "rollout-rate", defaultRolloutRate,
		"how many running pods a second follow a changed namespace, platform file or template version, such as 0.5 or 10/s; 0: none")
	return cmd
}

func serve(signals context.Context, f serveFlags) error {
	leave := &leaving{}
	ctx, cancel := leave.context(signals)
	defer cancel()
	logger, err := newLogger(f.logLevel)
	if err != nil {
		return usageError{err}
	}
	if err := errors.Join(f.checkRotation(), f.checkEntries()); err != nil {
		return usageError{err}
	}
	rate, err := parseRolloutRate(f.rolloutRate)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger.WithName("kubernetes"))
	kubernetes, err := parseKubernetesVersion(f.kubernetes)
	if err != nil {
		return err
	}
	platform, file, err := readPlatform(f.config)
	if err != nil {
		return err
	}
	spire, err := dialSPIRE(f, platform, metrics.Registry)
	if err != nil {
		return err
	}
	defer func() {
		if err := spire.Close(); err != nil {
			logger.Error(err, "closing the connection to SPIRE")
		}
	}()

	certificate := newServingCertificate(f, logger)
	mgr, err := newManager(f, certificate)
	if err != nil {
		return err
	}
	if f.kubernetes == "" {
		if kubernetes, err = serverVersion(ctx, mgr.GetConfig()); err != nil {
			return err
		}
	}
	inForce, err := followPlatform(ctx, mgr, f, file, f.workloadAPI != "", webhook.Injector{
		Platform: platform, Version: buildVersion(), Kubernetes: kubernetes, Generate: templates.NewMemory(rememberedConfigs).Generate,
	})
	if err != nil {
		return err
	}
	controller := newEntriesController(mgr, f, inForce, spire)
	relationships := newFederationSyncer(mgr, f, inForce, spire, controller.Resync)
	if f.dryRun {
		return printPlan(ctx, mgr, controller, relationships, os.Stdout)
	}
	back := afterReconnecting(spire.Reconnected(), controller.Resync, relationships.Reconnected)
	for _, r := range []manager.Runnable{controller.Watching(), controller.Reconciling(), relationships, back} {
		if err := mgr.Add(r); err != nil {
			return err
		}
	}
	if err := addWebhooks(mgr, leave, inForce.get, registrar.New(platform.Cluster, spire, registrar.Options{Confirmed: controller.Confirmed})); err != nil {
		return err
	}
	if err := addRollout(ctx, mgr, f, rate, inForce); err != nil {
		return fmt.Errorf("setting up what carries changes to running pods: %w", err)
	}
	if err := watchServingCertificate(ctx, mgr, f, certificate); err != nil {
		return err
	}
	if err := addChecks(mgr, certificate, spire); err != nil {
		return err
	}
	if err := registerMetrics(metrics.Registry, buildVersion(), certificate, spire); err != nil {
		return err
	}
	if err := addRotation(mgr, f); err != nil {
		return fmt.Errorf("setting up the rotation of the serving certificate: %w", err)
	}
	// Namespaces are read at admission: the cache has to be warm before the first pod comes, not by it.
	if _, err := mgr.GetCache().GetInformer(ctx, &corev1.Namespace{}); err != nil {
		return fmt.Errorf("watching namespaces: %w", err)
	}
	logger.Info("starting", "version", buildVersion(), "cluster", platform.Cluster.Name, "trustDomain", platform.Cluster.TrustDomain.Name(), "spireServer", platform.ServerAddress,
		"kubernetes", fmt.Sprintf("%d.%d", kubernetes.Major, kubernetes.Minor))
	return mgr.Start(ctx)
}

// addWebhooks registers what answers the API server, at the paths that the webhook configurations name.
func addWebhooks(mgr ctrl.Manager, leave *leaving, injector func() webhook.Injector, spire webhook.Registrar) error {
	admissions, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	namespaces := webhook.Namespaces{Cached: mgr.GetClient(), Direct: mgr.GetAPIReader()}
	decoder := admission.NewDecoder(mgr.GetScheme())
	server := mgr.GetWebhookServer()
	for path, handler := range map[string]admission.Handler{
		"/mutate-pod":        &webhook.Handler{Injector: injector, Registrar: spire, Namespaces: namespaces, Decoder: decoder, Metrics: admissions},
		"/validate-pod":      &webhook.Validator{Injector: injector, Namespaces: namespaces, Decoder: decoder, Metrics: admissions},
		"/validate-workload": &webhook.WorkloadValidator{Injector: injector, Namespaces: namespaces, Metrics: admissions},
	} {
		server.Register(path, leave.wrap(&admission.Webhook{Handler: handler}))
	}
	return nil
}

func newManager(f serveFlags, certificate *servingCertificate) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the Kubernetes API server: %w; run in a pod, or set KUBECONFIG", err)
	}
	byObject, err := entries.Watched(webhook.Trim)
	if err != nil {
		return nil, err
	}
	maps.Copy(byObject, watched(f))
	if f.configMap != "" {
		byObject[&corev1.ConfigMap{}] = cache.ByObject{Namespaces: map[string]cache.Config{
			f.namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", f.configMap)},
		}}
	}
	if f.dryRun { // beside a replica that listens, as in kubectl exec
		f.metricsAddress, f.healthAddress = "0", "0"
	}
	drain := 10 * time.Second
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Cache:  cache.Options{ByObject: byObject},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{
			Port:    f.webhookPort,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.MinVersion, c.GetCertificate = tls.VersionTLS13, certificate.get }},
		}),
		Metrics:                       metricsserver.Options{BindAddress: f.metricsAddress},
		HealthProbeBindAddress:        f.healthAddress,
		LeaderElection:                true,
		LeaderElectionID:              f.leaderElectionName,
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &drain,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the controller manager: %w", err)
	}
	return mgr, nil
}

func newLogger(level string) (logr.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level: expected debug, info, warn or error, got %q", level)
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
