package intent

import (
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// Platform is a checked platform file: what the platform team decides for all pods. [ParsePlatform] makes it.
type Platform struct {
	Cluster       registrar.Cluster
	ServerAddress string // unix:///path or host:port of the SPIRE server
	AgentSocket   AgentSocket
	OnUnavailable OnUnavailable
	Prewarm       bool // workloads' templates have their identities registered before there are pods
	// IPFamily is that of the pods' addresses; nil if the file leaves it to [Platform.WithIPFamily].
	IPFamily *ir.IPFamily
	// ClusterDomain is that of the cluster's names in DNS; empty if the file leaves it to [Platform.WithClusterDomain].
	ClusterDomain string
	Federation    []registrar.Federated // at most one of each trust domain, none of the own one
	Templates     []IDTemplate          // at least one
	Claims        []Claim
	// Quarantine are identities that are cut off, none twice: what falls under one is held by no new pod, and refused by
	// the running ones.
	Quarantine []ir.Peer
	Sidecar    Sidecar
	InPlace    bool // another image of the sidecar is carried to running pods, whose Envoy restarts for it
	// Drain is how long a terminating pod keeps serving, so that its callers find another one; 0 leaves pods as they
	// are.
	Drain time.Duration

	// Defaults of what annotations say.
	InboundPort   uint16
	AllowedPeers  []ir.Peer
	FederatesWith []spiffeid.TrustDomain
	X509SVIDTTL   time.Duration
	JWTSVIDTTL    time.Duration // zero is the SPIRE server's default
	MinTLS        ir.TLSVersion // of public ports
	Capture       bool          // of connections from outside for ports of the app

	// NetworkPolicies has what is not Envoy's closed in the network.
	NetworkPolicies bool

	// AllowedExceptions are those that namespaces which require injection take.
	AllowedExceptions []Exception
	// Bounds are how much a pod may ask for.
	Bounds              Bounds
	EntriesPerNamespace int // how many registration entries of a namespace an admission may lead to; at least 1

	Locked             []string // names, without our prefix, of annotations that neither pods nor namespaces may write
	ForeignAnnotations []string // annotations under our prefix that belong to other tools
}

// WithIPFamily is the platform in a cluster whose pods have such addresses, where its file does not say it.
func (p Platform) WithIPFamily(family ir.IPFamily) Platform {
	if p.IPFamily == nil {
		p.IPFamily = &family
	}
	return p
}

// WithClusterDomain is the platform in a cluster whose names in DNS have this domain, where its file does not say it.
func (p Platform) WithClusterDomain(domain string) Platform {
	if p.ClusterDomain == "" {
		p.ClusterDomain = domain
	}
	return p
}

// OnUnavailable is what becomes of a pod whose identity SPIRE does not know yet while SPIRE does not answer.
type OnUnavailable string

// What can become of it.
const (
	// Admit lets it in: it waits for its certificate, and the reconciler registers it when SPIRE is back.
	Admit OnUnavailable = "admit"
	// Deny denies its admission: its controller tries again.
	Deny OnUnavailable = "deny"
)

// AgentSocket is where the SPIRE agent's Workload API is found on every node: the directory is mounted, never the file,
// so that the socket of a restarted agent is found. Exactly one of HostPath and CSI is set.
type AgentSocket struct {
	HostPath string // the directory on the node
	CSI      string // the driver that mounts the directory
	File     string
}

// Sidecar is how the Envoy container is made.
type Sidecar struct {
	Image       string
	Resources   corev1.ResourceRequirements
	LogLevel    string
	Concurrency int // Envoy's worker threads
	// MaxConnections bounds those to each port that requires certificates, unless a pod says otherwise; 0 for none.
	MaxConnections uint64
	Metrics        ir.Metrics
	Tracing        ir.Tracing
	JWT            OwnContainer
	Files          OwnContainer // of the image of JWT if it names none
	Capture        OwnContainer // without an image pods cannot be captured
	// UnboundedStreams is that of [ir.Proxy].
	UnboundedStreams bool
}

// OwnContainer is how a container is made that runs the injector's own image.
type OwnContainer struct {
	Image     string // the injector's own; empty when pods cannot have one
	Resources corev1.ResourceRequirements
}
