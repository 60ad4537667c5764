package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates"
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
	} `json:"spire"`
	Identity struct {
		Templates []string `json:"templates"`
		Claims    []Claim  `json:"claims"`
	} `json:"identity"`
	Sidecar struct {
		Image       string          `json:"image"`
		Resources   json.RawMessage `json:"resources"`
		LogLevel    string          `json:"logLevel"`
		Concurrency int             `json:"concurrency"`
	} `json:"sidecar"`
	Defaults struct {
		InboundPort  int      `json:"inboundPort"`
		AllowedPeers []string `json:"allowedPeers"`
		X509SVIDTTL  string   `json:"x509SVIDTTL"`
	} `json:"defaults"`
}

// Platform is a checked platform file: what the platform team decides for all pods.
type Platform struct {
	Cluster       registrar.Cluster
	ServerAddress string // unix:///path or host:port of the SPIRE server
	AgentSocket   AgentSocket
	Templates     []IDTemplate // at least one
	Claims        []Claim
	Sidecar       Sidecar
	InboundPort   uint16
	AllowedPeers  []templates.Peer
	X509SVIDTTL   time.Duration // of pods that name none
}

// AgentSocket is where the SPIRE agent's Workload API is found on every node: the directory is mounted, never the file,
// so that an agent which makes its socket anew is found again.
type AgentSocket struct {
	HostPath string `json:"hostPath"`
	File     string `json:"file"`
}

// Sidecar is how the Envoy container is made.
type Sidecar struct {
	Image       string
	Resources   corev1.ResourceRequirements
	LogLevel    string
	Concurrency int // Envoy's worker threads
}

const (
	defaultInboundPort = 8443
	defaultSVIDTTL     = time.Hour
	defaultIDTemplate  = "/ns/{namespace}/sa/{serviceAccount}"
	maxConcurrency     = 64
)

// ParsePlatform decodes a platform file strictly. The error lists everything that is wrong with it.
func ParsePlatform(data []byte) (Platform, error) {
	object, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return Platform{}, fmt.Errorf("expected YAML: %w", err)
	}
	var f platformFile
	errs, err := kubejson.UnmarshalStrict(object, &f)
	if err != nil {
		return Platform{}, fmt.Errorf("decoding the platform file: %w", err)
	}
	if f.APIVersion != PlatformAPIVersion || f.Kind != PlatformKind {
		return Platform{}, errors.Join(append(errs,
			fmt.Errorf("expected apiVersion %s and kind %s, got %q and %q", PlatformAPIVersion, PlatformKind, f.APIVersion, f.Kind))...)
	}
	fail := func(field, format string, args ...any) { errs = append(errs, fmt.Errorf(field+": "+format, args...)) }

	p := Platform{ServerAddress: f.SPIRE.Server.Address, AgentSocket: f.SPIRE.AgentSocket}
	p.Sidecar = Sidecar{Image: f.Sidecar.Image, LogLevel: f.Sidecar.LogLevel, Concurrency: f.Sidecar.Concurrency}
	td, err := spiffeid.TrustDomainFromString(f.TrustDomain)
	if err != nil {
		fail("trustDomain", "expected a trust domain such as example.org, got %q: %w", f.TrustDomain, err)
	} else if p.Cluster, err = cluster(f.ClusterName, td, f.SPIRE.NodeSelectors); err != nil {
		fail("clusterName and spire.nodeSelectors", "%w", err)
	}
	if !isServerAddress(p.ServerAddress) {
		fail("spire.server.address", "expected unix:///path or host:port of the SPIRE server, got %q", p.ServerAddress)
	}
	if !path.IsAbs(p.AgentSocket.HostPath) {
		fail("spire.agentSocket.hostPath", "expected the absolute path of the directory that holds the agent's socket, got %q", p.AgentSocket.HostPath)
	}
	if p.AgentSocket.File == "" || strings.Contains(p.AgentSocket.File, "/") {
		fail("spire.agentSocket.file", "expected the socket's file name inside hostPath, such as agent.sock, got %q", p.AgentSocket.File)
	}
	if v := f.SPIRE.OnUnavailable; v != "" && v != "deny" {
		fail("spire.onUnavailable", `expected "deny", got %q`, v)
	}
	if len(f.Identity.Templates) == 0 {
		f.Identity.Templates = []string{defaultIDTemplate}
	}
	for i, s := range f.Identity.Templates {
		t, err := ParseIDTemplate(s)
		if err != nil {
			fail(fmt.Sprintf("identity.templates[%d]", i), "%w", err)
		}
		p.Templates = append(p.Templates, t)
	}
	for i, c := range f.Identity.Claims {
		if err := c.validate(); err != nil {
			fail(fmt.Sprintf("identity.claims[%d]", i), "%w", err)
		}
	}
	p.Claims = f.Identity.Claims
	if p.Sidecar.Image == "" {
		fail("sidecar.image", "expected Envoy's image, got nothing")
	}
	if len(f.Sidecar.Resources) > 0 { // on its own, because the error of a bad quantity does not say where it is
		unknown, err := kubejson.UnmarshalStrict(f.Sidecar.Resources, &p.Sidecar.Resources)
		if err := errors.Join(append(unknown, err)...); err != nil {
			fail("sidecar.resources", "%w", err)
		}
	}
	if p.Sidecar.LogLevel == "" {
		p.Sidecar.LogLevel = "warning"
	}
	if !slices.Contains(logLevels, p.Sidecar.LogLevel) {
		fail("sidecar.logLevel", "expected one of %s, got %q", strings.Join(logLevels, ", "), p.Sidecar.LogLevel)
	}
	if p.Sidecar.Concurrency == 0 {
		p.Sidecar.Concurrency = 1
	}
	if p.Sidecar.Concurrency < 0 || p.Sidecar.Concurrency > maxConcurrency {
		fail("sidecar.concurrency", "expected 1 to %d worker threads, got %d", maxConcurrency, p.Sidecar.Concurrency)
	}
	p.InboundPort = defaultInboundPort
	if v := f.Defaults.InboundPort; v != 0 {
		if p.InboundPort, err = portNumber(v); err != nil {
			fail("defaults.inboundPort", "%w", err)
		}
	}
	for i, s := range f.Defaults.AllowedPeers {
		peer, err := templates.ParsePeer(td, nil, s)
		if err != nil {
			fail(fmt.Sprintf("defaults.allowedPeers[%d]", i), "%w", err)
		}
		p.AllowedPeers = append(p.AllowedPeers, peer)
	}
	p.X509SVIDTTL = defaultSVIDTTL
	if v := f.Defaults.X509SVIDTTL; v != "" {
		if p.X509SVIDTTL, err = parseTTL(v); err != nil {
			fail("defaults.x509SVIDTTL", "%w", err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Platform{}, err
	}
	return p, nil
}

func isServerAddress(s string) bool {
	if socket, ok := strings.CutPrefix(s, "unix://"); ok {
		return path.IsAbs(socket)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func cluster(name string, td spiffeid.TrustDomain, nodeSelectors []string) (registrar.Cluster, error) {
	var selectors []registrar.Selector
	for _, s := range nodeSelectors {
		selector, err := registrar.ParseSelector(s)
		if err != nil {
			return registrar.Cluster{}, err
		}
		selectors = append(selectors, selector)
	}
	return registrar.NewCluster(name, td, selectors...)
}
