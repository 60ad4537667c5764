package check

import (
	"fmt"
	"net/netip"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Names are those of what is looked for.
type Names struct {
	Namespace string // of the injector, whose Deployment is [Deployment]
	SPIRE     string // the namespace of the SPIRE server and agents
}

// Deployment is the name of the injector's Deployment, and of its container.
const Deployment = "spire-injector"

// Source is where facts come from.
type Source string

// The sources.
const (
	SourceVersion    Source = "the API server's version"
	SourceNamespaces Source = "namespaces"
	SourceNodes      Source = "nodes"
	SourceWorkloads  Source = "Deployments, StatefulSets and DaemonSets"
	SourcePods       Source = "pods"
	SourceRequired   Source = "pods of namespaces that require injection"
	SourceInjector   Source = "the injector's Deployment"
	SourceLease      Source = "the injector's Lease"
	SourceWebhooks   Source = "webhook configurations"
	SourcePolicies   Source = "ValidatingAdmissionPolicies"
	SourceDrivers    Source = "CSIDrivers"
	SourcePlatform   Source = "the platform file"
	SourceService    Source = "the SPIRE server's Service"
	SourceDNS        Source = "the configuration of the cluster's DNS"
	SourceTrial      Source = "the webhook's answer"
)

// Facts are what is known of a cluster.
type Facts struct {
	At     time.Time
	Names  Names
	Unread map[Source]error // what could not be read

	Kubernetes string // version
	Namespaces []corev1.Namespace
	Nodes      []corev1.Node

	Injector *appsv1.Deployment // nil: there is none
	Settings Settings           // by which its replicas run
	Replicas []Replica
	Lease    *coordinationv1.Lease // nil: there is none

	Mutating   *admissionregistrationv1.MutatingWebhookConfiguration   // nil: there is none
	Validating *admissionregistrationv1.ValidatingWebhookConfiguration // nil: there is none
	// Policies are those that there are, by name, each with the names of the bindings that have it deny.
	Policies map[string][]string
	// Warning are the names of the bindings that have a policy warn, by its name.
	Warning map[string][]string
	Trial   Trial

	Platform File
	// PlatformHash is what replicas export that work by Platform.
	PlatformHash float64

	Servers, Agents, Managers []Workload // of SPIRE, and spire-controller-manager
	// Others are the servers and agents that are not the injector's. They are judged to be so, not read.
	Others []Workload
	// Service is by which the injector reaches the SPIRE server. Nil: none of this cluster's, or it could not be read.
	Service    *corev1.Service
	AgentPods  []AgentPod
	CSIDrivers []string
	Corefile   string // of the cluster's DNS; empty: it is not where most clusters have it
	// Declaring are the injected pods whose app declares ports, without what no check looks at.
	Declaring []corev1.Pod
	Injected  int // pods
	// Required are the running pods of namespaces that require injection.
	Required []RequiredPod
}

// Settings are what the injector's flags say.
type Settings struct {
	Config      string // path of the platform file
	Webhooks    string // name of the webhook configurations
	Lease       string
	MetricsPort string // empty: there are no metrics
	// MetricsSecure says that they take a token, which the API server does not pass on.
	MetricsSecure bool
	HealthPort    string
	Resync        time.Duration
	RolloutRate   float64 // pods a second
}

// Replica is a pod of the injector.
type Replica struct {
	Name    string
	Ready   bool
	Unready string // what it says that it lacks
	// Addresses are those of the pod, as far as they are known.
	Addresses []netip.Addr
	Metrics   Metrics // nil: it did not answer
	Err       error   // why it did not
}

// Trial is what became of a pod that the injector has to refuse, and that is tried and not created.
type Trial struct {
	Namespace string
	Created   bool   // nobody refused it
	Answer    string // of the API server
}

// Workload is what makes pods of SPIRE's.
type Workload struct {
	Kind, Namespace, Name string
	Labels                map[string]string // of its pods
	Spec                  corev1.PodSpec
	Container             string // the one that the workload was found by
	Wanted, Ready         int32  // pods
	Config                File
}

// AgentPod is a pod of SPIRE's agents.
type AgentPod struct {
	Namespace string
	DaemonSet string // empty if something else made it
	Node      string
}

// File is a configuration file in a ConfigMap.
type File struct {
	Where string // for people
	Text  string
	Err   error // why it could not be found
	// Elsewhere says that it is in no ConfigMap, so that it may well be there.
	Elsewhere bool
}

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

func (w Workload) same(other Workload) bool { return w.String() == other.String() }

// config is its configuration, if it is SPIRE's.
func (w Workload) config() (spireConfig, error) {
	if w.Config.Err != nil {
		return spireConfig{}, w.Config.Err
	}
	return parseSPIREConfig(w.Config.Text)
}

// namespace is what of a namespace decides about its pods. One that is gone has nothing.
func (f Facts) namespace(name string) intent.Namespace {
	for _, ns := range f.Namespaces {
		if ns.Name == name {
			return intent.Namespace{Name: name, Labels: ns.Labels, Annotations: ns.Annotations}
		}
	}
	return intent.Namespace{Name: name}
}

// platform is the platform file, if it can be understood.
func (f Facts) platform() (p intent.Platform, ok bool) {
	p, err := f.PlatformInForce()
	return p, err == nil
}

// PlatformInForce is the platform file of the injector. The error says why it is not known.
func (f Facts) PlatformInForce() (intent.Platform, error) {
	switch {
	case f.Unread[SourceInjector] != nil:
		return intent.Platform{}, fmt.Errorf("%s could not be read: %w", SourceInjector, f.Unread[SourceInjector])
	case f.Injector == nil:
		return intent.Platform{}, fmt.Errorf("there is no Deployment %s/%s", f.Names.Namespace, Deployment)
	case f.Unread[SourcePlatform] != nil:
		return intent.Platform{}, fmt.Errorf("%s could not be read: %w", SourcePlatform, f.Unread[SourcePlatform])
	case f.Platform.Err != nil:
		return intent.Platform{}, fmt.Errorf("%s: %w", f.Platform.Where, f.Platform.Err)
	}
	p, err := intent.ParsePlatform([]byte(f.Platform.Text))
	if err != nil {
		return intent.Platform{}, fmt.Errorf("%s: %w", f.Platform.Where, err)
	}
	return p, nil
}
