package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/replica"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/entries"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/clientcert"
	"github.com/spire-injector/spire-injector/webhook/connections"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/networkpolicies"
	"github.com/spire-injector/spire-injector/webhook/rollout"
	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// server is one replica of the injector.
type server struct {
	flags       serveFlags
	rolloutRate rate.Limit
	logger      logr.Logger
	kubernetes  inject.KubernetesVersion // the zero value: the API server is asked
	platform    intent.Platform          // at the start
	file        []byte                   // the platform file at the start
	spire       *spireapi.Client
	certificate *servingcert.Certificate
	callers     *clientcert.Authenticator // nil: everybody is answered
	manager     ctrl.Manager
	shutdown    replica.Shutdown

	inForce *platformfile.InForce
}

// newServer reads what there is to read on this machine, and calls nobody yet. The server is to be closed.
func newServer(f serveFlags) (*server, error) {
	s := &server{flags: f}
	var err error
	if s.logger, err = newLogger(f.logLevel); err != nil {
		return nil, usageError{err}
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if s.rolloutRate, err = parseRolloutRate(f.rolloutRate); err != nil {
		return nil, err
	}
	ctrl.SetLogger(s.logger)
	klog.SetLogger(s.logger.WithName("kubernetes"))
	replica.LimitMemory(s.logger)
	if s.kubernetes, err = parseKubernetesVersion(f.kubernetes); err != nil {
		return nil, err
	}
	if s.platform, s.file, err = platformfile.Read(f.config); err != nil {
		return nil, err
	}
	s.certificate = &servingcert.Certificate{Host: f.host(), OnPresent: servingcert.Log(s.logger)}
	if s.spire, err = dialSPIRE(f, s.platform, s.offerSVIDs); err != nil {
		return nil, err
	}
	if err := s.setUp(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// setUp makes what serves.
func (s *server) setUp() (err error) {
	if s.flags.clientCA != "" {
		if s.callers, err = clientcert.New(s.flags.clientCA, s.flags.clientNames); err != nil {
			return err
		}
	}
	webhooks, err := connections.NewServer(connections.Options{
		Port:         "webhook",
		Address:      net.JoinHostPort("", strconv.Itoa(s.flags.webhookPort)),
		ConfigureTLS: s.configureTLS,
		Bounds:       connections.DefaultBounds(),
		Registerer:   metrics.Registry,
		Logger:       s.logger.WithName("webhook"),
	})
	if err != nil {
		return err
	}
	if s.manager, err = newManager(s.flags, webhooks); err != nil || s.callers == nil {
		return err
	}
	return s.manager.Add(s.callers)
}

// configureTLS is how the webhook is served.
func (s *server) configureTLS(c *tls.Config) {
	c.MinVersion, c.GetCertificate = tls.VersionTLS13, s.certificate.Get
	if s.callers != nil {
		s.callers.Configure(c)
	}
}

// offerSVIDs has the webhook present the injector's own SVID.
func (s *server) offerSVIDs(svids []*x509svid.SVID) {
	if err := s.certificate.OfferSVIDs(svids, time.Now()); err != nil {
		s.logger.Error(err, "keeping the old serving certificate")
	}
}

// answering wraps what answers the API server.
func (s *server) answering(handler http.Handler) http.Handler {
	if s.callers != nil {
		handler = s.callers.Wrap(handler)
	}
	return s.shutdown.Wrap(handler)
}

// close ends the connection to SPIRE.
func (s *server) close() {
	if err := s.spire.Close(); err != nil {
		s.logger.Error(err, "closing the connection to SPIRE")
	}
}

// run works until ctx is done; with --dry-run it prints a plan, and changes nothing.
func (s *server) run(ctx context.Context) error {
	if s.flags.kubernetes == "" {
		var err error
		if s.kubernetes, err = serverVersion(ctx, s.manager.GetConfig()); err != nil {
			return err
		}
	}
	if err := s.watchPlatform(ctx); err != nil {
		return err
	}
	controller := newEntriesController(s.manager, s.flags, s.inForce, s.spire)
	relationships := newFederationSyncer(s.manager, s.flags, s.inForce, s.spire, controller.Resync)
	if s.flags.dryRun {
		return printPlan(ctx, s.manager, controller, relationships, os.Stdout)
	}
	back := afterReconnecting(s.spire.Reconnected(), controller.Resync, relationships.Reconnected)
	for _, r := range []manager.Runnable{
		controller.Watching(), controller.Reconciling(), relationships, back, replica.CollectorPace{},
	} {
		if err := s.manager.Add(r); err != nil {
			return err
		}
	}
	for _, add := range []func(context.Context) error{
		s.webhooks(registrar.Options{Confirmed: controller.Confirmed, Bound: registrar.Bound{
			Max:    func() int { return s.inForce.Get().Platform.EntriesPerNamespace },
			Needed: controller.Needed,
			For:    s.flags.grace + s.flags.resync,
			Where:  intent.FieldEntriesPerNamespace,
		}}),
		s.addRollout, s.addNetworkPolicies, s.addCertificate, s.addHealth, s.addMetrics, s.registerMetrics, s.warmCache,
	} {
		if err := add(ctx); err != nil {
			return err
		}
	}
	cluster := s.platform.Cluster
	s.logger.Info("starting", "version", buildVersion(), "cluster", cluster.Name,
		"trustDomain", cluster.TrustDomain.Name(), "spireServer", s.platform.ServerAddress,
		"kubernetes", fmt.Sprintf("%d.%d", s.kubernetes.Major, s.kubernetes.Minor))
	return s.manager.Start(ctx)
}

// keptConfigBytes bounds the cache of generated configurations, which are packed, of some 700 bytes each: a small part
// of the memory that a replica gets.
const keptConfigBytes = 4 << 20

// watchPlatform keeps the injector at what the platform file becomes.
func (s *server) watchPlatform(ctx context.Context) error {
	reloads, err := platformfile.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	logger := s.manager.GetLogger().WithName("platform")
	family, err := podIPFamily(os.Getenv(podIPsVariable))
	if err != nil {
		return err
	}
	resolver, err := os.ReadFile(resolverFile)
	if err != nil {
		logger.Info("the cluster's domain is not known: sidecars ask DNS for each of their search domains", "error", err.Error())
	}
	kept := templates.NewCache(keptConfigBytes)
	s.inForce = platformfile.New(platformfile.Config{
		File: s.file,
		Injector: inject.Injector{
			Platform:   s.platform,
			Version:    buildVersion(),
			Kubernetes: s.kubernetes,
			Generate:   kept.Generate,
			Keep:       kept.Keep,
		},
		IPFamily:      family,
		ClusterDomain: podClusterDomain(string(resolver)),
		SocketFixed:   s.flags.workloadAPI != "",
		Metrics:       reloads,
		Logger:        logger,
		Event:         eventsOf(s.manager, "Reload").Event,
	})
	source := platformfile.Source{
		File:      s.flags.config,
		ConfigMap: s.flags.configMap,
		Offer:     s.inForce.Offer,
		Logger:    logger,
	}
	if s.flags.configMap != "" {
		return watch(ctx, s.manager, &corev1.ConfigMap{}, source.Changed)
	}
	pod, err := replica.OwnPod(s.flags.namespace)
	if err != nil {
		return err
	}
	return s.manager.Add(source.Files(pod))
}

// webhooks adds what answers the API server, at the paths that the webhook configurations name.
func (s *server) webhooks(options registrar.Options) func(context.Context) error {
	return func(context.Context) error {
		admissions, err := webhook.NewMetrics(metrics.Registry)
		if err != nil {
			return err
		}
		spire := registrar.New(s.platform.Cluster, s.spire, options)
		injector := s.sealing
		namespaces := webhook.Namespaces{Cached: s.manager.GetCache(), Direct: s.manager.GetAPIReader()}
		withServices := namespaces
		withServices.Services = s.manager.GetCache()
		server := s.manager.GetWebhookServer()
		if s.flags.certSource == sourceSPIRE {
			s.logger.Info("pods get no seal: replicas share no key where the serving certificate is an SVID, so that while the " +
				"injector is upgraded one version may deny what another one made")
		}
		callees := &webhook.Callees{Cached: s.manager.GetCache()} // which waits until it is filled
		gate, turns := webhook.NewGate(admissions), webhook.NewTurns()
		for name, handler := range map[string]admission.Handler{
			webhook.MutatePod: &webhook.Handler{
				Injector:   injector,
				Registrar:  spire,
				Namespaces: withServices,
				Metrics:    admissions,
				Turns:      turns,
				Callees:    callees,
				Served:     webhook.ServedBy(s.manager.GetCache(), s.flags.webhookConfig),
			},
			webhook.ValidatePod: &webhook.Validator{
				Injector: injector, Namespaces: namespaces, Metrics: admissions, Turns: turns,
			},
			webhook.ValidateWorkload: &webhook.WorkloadValidator{
				Injector: s.inForce.Get, Namespaces: withServices, Metrics: admissions, Turns: turns, Callees: callees,
			},
		} {
			answers := webhook.Reviews{Webhook: &admission.Webhook{Handler: handler, LogConstructor: webhook.LogClaims}}
			server.Register("/"+name, s.answering(gate.Wrap(name, answers)))
		}
		return nil
	}
}

// sealing is the injector in force, which seals what it makes.
func (s *server) sealing() inject.Injector {
	injector := s.inForce.Get()
	keys, err := s.certificate.Shared(sealPurpose)
	if err != nil {
		s.logger.Error(err, "pods get no seal")
		return injector
	}
	injector.Sealing = inject.Sealing{Keys: keys, Now: time.Now()}
	return injector
}

// sealPurpose is that of keys by which replicas seal pods for replicas of other versions.
const sealPurpose = "spire-injector, seals of pods"

// addCertificate has every replica watch the serving certificate and what the API server trusts, and if it is asked to
// the leading one rotate both.
func (s *server) addCertificate(ctx context.Context) error {
	source := s.flags.certificate()
	logger := s.manager.GetLogger().WithName("serving-certificate")
	if err := s.certificate.Watch(ctx, s.manager.GetCache(), source, logger); err != nil {
		return err
	}
	if s.flags.certSource != sourceSelf {
		return nil
	}
	rotator := servingcert.Rotator{
		Client:  s.manager.GetClient(),
		Source:  source,
		Host:    s.flags.host(),
		CertDir: s.flags.certDir,
	}
	if err := rotator.AddTo(s.manager); err != nil {
		return fmt.Errorf("setting up the rotation of the serving certificate: %w", err)
	}
	return nil
}

func (s *server) registerMetrics(context.Context) error {
	return replica.Process{
		Version:     buildVersion(),
		Certificate: s.certificate.Expiry,
		Lifetime:    s.certificate.Lifetime,
		SVID:        s.spire.SVIDExpiry,
	}.Register(metrics.Registry)
}

// warmCache fills the cache before the first pod comes: namespaces and Services are read at admission.
func (s *server) warmCache(ctx context.Context) error {
	if _, err := s.manager.GetCache().GetInformer(ctx, &corev1.Namespace{}); err != nil {
		return fmt.Errorf("watching namespaces: %w", err)
	}
	if _, err := s.manager.GetCache().GetInformer(ctx, &corev1.Service{}); err != nil {
		return fmt.Errorf("watching Services: %w", err)
	}
	return nil
}

// watch calls do with each object of a kind when it comes, changes or goes.
func watch(ctx context.Context, mgr ctrl.Manager, kind client.Object, do func(object any)) error {
	informer, err := mgr.GetCache().GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watching %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: do, UpdateFunc: func(_, after any) { do(after) }, DeleteFunc: do,
	})
	return err
}

// eventsOf makes events of one kind of the injector's work.
func eventsOf(mgr ctrl.Manager, action string) replica.Events {
	return replica.Events{Recorder: mgr.GetEventRecorder("spire-injector"), Action: action}
}

// agentAddress is where the injector gets its own SVID: from the pods' agent, unless the flag says otherwise.
func agentAddress(f serveFlags, platform intent.Platform) string {
	if f.workloadAPI != "" {
		return f.workloadAPI
	}
	return "unix://" + path.Join(platform.AgentSocket.HostPath, platform.AgentSocket.File)
}

// dialSPIRE returns at once: the server and the own agent may come later.
func dialSPIRE(
	f serveFlags, platform intent.Platform, onSVIDs func([]*x509svid.SVID),
) (*spireapi.Client, error) {
	if f.certSource != sourceSPIRE {
		onSVIDs = nil
	} else if strings.HasPrefix(platform.ServerAddress, "unix:") {
		return nil, usageError{fmt.Errorf("--serving-cert-source=%s: expected host:port as spire.server.address of the "+
			"platform file, got %s: over the server's socket the injector has no SVID",
			sourceSPIRE, platform.ServerAddress)}
	}
	requests, err := replica.NewSPIREMetrics(metrics.Registry)
	if err != nil {
		return nil, err
	}
	client, err := spireapi.Dial(spireapi.Config{
		ServerAddress: platform.ServerAddress,
		AgentSocket:   agentAddress(f, platform),
		OnSVIDs:       onSVIDs,
		TrustDomain:   platform.Cluster.TrustDomain,
		Observe:       requests.Observe,
	})
	if err != nil {
		return nil, fmt.Errorf("platform file %s: spire.server.address: %w", f.config, err)
	}
	return client, nil
}

// gracefulShutdown is how long admissions in flight may take when a replica ends.
const gracefulShutdown = 10 * time.Second

func newManager(f serveFlags, webhooks ctrlwebhook.Server) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the Kubernetes API server: %w; run in a pod, or set KUBECONFIG", err)
	}
	watched, err := watchedObjects(f)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{ByObject: watched},
		WebhookServer:                 webhooks,
		Metrics:                       metricsserver.Options{BindAddress: nowhere}, // see addMetrics and addHealth
		HealthProbeBindAddress:        nowhere,
		LeaderElection:                true,
		LeaderElectionID:              f.leaderElectionName,
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(gracefulShutdown),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the controller manager: %w", err)
	}
	return mgr, nil
}

// watchedObjects narrows what is kept in memory to what is read.
func watchedObjects(f serveFlags) (map[client.Object]cache.ByObject, error) {
	watched, err := entries.Watched(inject.Trim)
	if err != nil {
		return nil, err
	}
	for object, by := range watched {
		if _, isPod := object.(*corev1.Pod); isPod { // entries, the rollout and NetworkPolicies share one watch of pods
			by.Transform = entries.Share(networkpolicies.KeepPorts(rollout.KeepConfig(by.Transform)))
			watched[object] = by
		}
	}
	watched[&corev1.Service{}] = cache.ByObject{Transform: webhook.TrimService}
	maps.Copy(watched, f.certificate().Watched())
	if f.configMap != "" {
		watched[&corev1.ConfigMap{}] = cache.ByObject{Namespaces: map[string]cache.Config{
			f.namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", f.configMap)},
		}}
	}
	return watched, nil
}

// serverVersion asks the API server for its version.
func serverVersion(ctx context.Context, config *rest.Config) (inject.KubernetesVersion, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return inject.KubernetesVersion{}, err
	}
	info, err := client.ServerVersionWithContext(ctx)
	if err != nil {
		return inject.KubernetesVersion{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	v, err := inject.ParseKubernetesVersion(info.GitVersion)
	if err != nil {
		return v, fmt.Errorf("the API server's version: %w; say it with --kubernetes-version", err)
	}
	return v, nil
}
