package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	kubejson "sigs.k8s.io/json"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// The only accepted type of a platform file.
const (
	PlatformAPIVersion = "injector.spiffe.io/v1alpha1"
	PlatformKind       = "InjectorConfig"
)

// platformFile is the platform file as it is written.
type platformFile struct {
	APIVersion  string `json:"apiVersion"`
	Kind        string `json:"kind"`
	TrustDomain string `json:"trustDomain"`
	ClusterName string `json:"clusterName"`
	SPIRE       struct {
		Server struct {
			Address string `json:"address"`
		} `json:"server"`
		AgentSocket   AgentSocket `json:"agentSocket"`
		NodeSelectors []string    `json:"nodeSelectors"`
		OnUnavailable string      `json:"onUnavailable"`

		Federation []federationSection `json:"federation"`
	} `json:"spire"`
	Identity struct {
		Templates []string `json:"templates"`
		Claims    []Claim  `json:"claims"`
	} `json:"identity"`
	Sidecar  sidecarSection  `json:"sidecar"`
	Defaults defaultsSection `json:"defaults"`
	// Locked and ForeignAnnotations are names of annotations; the former without our prefix.
	Locked             []string `json:"locked"`
	ForeignAnnotations []string `json:"foreignAnnotations"`
}

type federationSection struct {
	TrustDomain      string `json:"trustDomain"`
	BundleEndpoint   string `json:"bundleEndpoint"`
	Profile          string `json:"profile"`
	EndpointSPIFFEID string `json:"endpointSPIFFEID"`
	Refresh          string `json:"refresh"`
}

type sidecarSection struct {
	Image       string          `json:"image"`
	Resources   json.RawMessage `json:"resources"`
	LogLevel    string          `json:"logLevel"`
	Concurrency int             `json:"concurrency"`
	Rollout     string          `json:"rollout"`
	JWT         struct {
		Image     string          `json:"image"`
		Resources json.RawMessage `json:"resources"`
	} `json:"jwt"`
	Metrics *struct {
		Port    int      `json:"port"`
		Include []string `json:"include"`
	} `json:"metrics"`
}

type defaultsSection struct {
	InboundPort   int      `json:"inboundPort"`
	AllowedPeers  []string `json:"allowedPeers"`
	FederatesWith []string `json:"federatesWith"`
	X509SVIDTTL   string   `json:"x509SVIDTTL"`
	JWTSVIDTTL    string   `json:"jwtSVIDTTL"`
	Drain         string   `json:"drain"`
}

// Platform is a checked platform file: what the platform team decides for all pods.
type Platform struct {
	Cluster       registrar.Cluster
	ServerAddress string // unix:///path or host:port of the SPIRE server
	AgentSocket   AgentSocket
	OnUnavailable OnUnavailable
	Federation    []registrar.Federated // at most one of each trust domain, none of the own one
	Templates     []IDTemplate          // at least one
	Claims        []Claim
	Sidecar       Sidecar
	InPlace       bool // another image of the sidecar is carried to running pods, whose Envoy restarts for it
	// Drain is how long a pod that ends keeps serving, so that its callers find another one; 0 leaves pods as they are.
	Drain time.Duration

	// Defaults of what annotations say.
	InboundPort   uint16
	AllowedPeers  []ir.Peer
	FederatesWith []spiffeid.TrustDomain
	X509SVIDTTL   time.Duration
	JWTSVIDTTL    time.Duration // zero is the SPIRE server's default

	Locked             []string // names, without our prefix, of annotations that nobody may write
	ForeignAnnotations []string // annotations under our prefix that belong to other tools
}

// OnUnavailable is what becomes of a pod whose identity SPIRE does not know yet while SPIRE does not answer.
type OnUnavailable string

// What can become of it.
const (
	// Admit lets it in: it waits for its certificate, and the reconciler registers it when SPIRE is back.
	Admit OnUnavailable = "admit"
	// Deny refuses it: its controller tries again.
	Deny OnUnavailable = "deny"
)

// AgentSocket is where the SPIRE agent's Workload API is found on every node: the directory is mounted, never the file,
// so that an agent which makes its socket anew is found again. Exactly one of HostPath and CSI is set.
type AgentSocket struct {
	HostPath string `json:"hostPath"` // the directory on the node
	CSI      string `json:"csi"`      // the driver that mounts the directory
	File     string `json:"file"`
}

// Sidecar is how the Envoy container is made.
type Sidecar struct {
	Image       string
	Resources   corev1.ResourceRequirements
	LogLevel    string
	Concurrency int // Envoy's worker threads
	Metrics     ir.Metrics
	JWT         JWTContainer
}

// JWTContainer is how the container that fetches tokens and keys is made.
type JWTContainer struct {
	Image     string // the injector's own; empty when pods cannot have one
	Resources corev1.ResourceRequirements
}

const (
	defaultInboundPort   = 8443
	defaultMetricsPort   = 15090
	defaultSVIDTTL       = time.Hour
	defaultDrain         = 10 * time.Second
	maxDrain             = 5 * time.Minute
	defaultIDTemplate    = "/ns/{namespace}/sa/{serviceAccount}"
	maxConcurrency       = 64
	defaultBundleRefresh = 5 * time.Minute
	minBundleRefresh     = 10 * time.Second
	maxBundleRefresh     = 24 * time.Hour
	rolloutInPlace       = "inPlace"
)

// ParsePlatform decodes a platform file strictly. The error lists everything that is wrong with it.
func ParsePlatform(data []byte) (Platform, error) {
	object, err := oneDocument(data)
	if err != nil {
		return Platform{}, fmt.Errorf("expected YAML: %w", err)
	}
	var f platformFile
	unknown, err := kubejson.UnmarshalStrict(object, &f)
	if err != nil {
		return Platform{}, fmt.Errorf("decoding the platform file: %w", err)
	}
	if f.APIVersion != PlatformAPIVersion || f.Kind != PlatformKind {
		return Platform{}, errors.Join(append(unknown,
			fmt.Errorf("expected apiVersion %s and kind %s, got %q and %q", PlatformAPIVersion, PlatformKind, f.APIVersion, f.Kind))...)
	}
	r := platformReader{errs: unknown}
	r.readSPIRE(f)
	r.readFederation(f.SPIRE.Federation)
	r.readIdentity(f)
	r.readSidecar(f.Sidecar)
	r.readDefaults(f.Defaults)
	r.readKeys(f)
	if err := errors.Join(r.errs...); err != nil {
		return Platform{}, err
	}
	return r.Platform, nil
}
