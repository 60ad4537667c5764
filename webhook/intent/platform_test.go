package intent

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

func TestParsePlatformDefaults(t *testing.T) {
	want := Platform{
		ServerAddress: "spire-server.spire:8081",
		AgentSocket:   AgentSocket{HostPath: "/run/spire/sockets", File: "agent.sock"},
		OnUnavailable: Deny,
		Templates:     []IDTemplate{{"/ns/{namespace}/sa/{serviceAccount}"}},
		Claims:        []Claim{{Namespaces: []string{"demo"}, ServiceAccounts: []string{"*"}, Paths: []string{"/api"}}},
		Sidecar:       Sidecar{Image: "envoy", LogLevel: "warning", Concurrency: 1},
		InboundPort:   8443,
		X509SVIDTTL:   time.Hour,
		Drain:         10 * time.Second,
		Bounds:        Bounds{65536, 32, 128, 512, 1000, 2000, 64, 16, 32, 64, 32, 512, 32768},

		EntriesPerNamespace: 2000,
	}
	comparePlatforms(t, want, platform(t))
}

// platformTextInFull has every field, each with another value than its default.
const platformTextInFull = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
ipFamily: DualStack
clusterDomain: k8s.example.org
spire:
  server: {address: "unix:///run/spire/private/api.sock"}
  agentSocket: {csi: csi.spiffe.io, file: a.sock}
  nodeSelectors: ["k8s_psat:agent_ns:spire"]
  entryScope: cluster
  prewarm: true
  onUnavailable: admit
  federation:
  - {trustDomain: auxiliary.org, bundleEndpoint: "https://auxiliary.org:8443", refresh: 10s}
  - {trustDomain: partner.org, bundleEndpoint: "https://10.0.0.1/bundle", profile: https_spiffe,
     endpointSPIFFEID: "spiffe://partner.org/spire/server"}
identity:
  templates: ["/{label:app}", "/fixed"]
  claims:
  - namespaces: [edge]
    serviceAccounts: [web]
    paths: [/edge]
    dnsNames: ["*.example.org"]
    flags: [downstream, admin]
sidecar:
  image: envoy
  logLevel: debug
  concurrency: 2
  maxConnections: 500
  rollout: inPlace
  streams: unbounded
  tracing: {address: "otel:4317", peers: [/otel], samplingPercent: 0.5}
  resources: {limits: {memory: 64Mi}}
  metrics: {port: 15091, include: [http.inbound_]}
  jwt: {image: injector, resources: {limits: {memory: 32Mi}}}
  capture: {image: injector, resources: {limits: {memory: 16Mi}}}
  files: {image: files, resources: {limits: {memory: 16Mi}}}
defaults:
  inboundPort: 9443
  allowedPeers: [/web, "spiffe://auxiliary.org/*"]
  federatesWith: [auxiliary.org]
  x509SVIDTTL: 30s
  jwtSVIDTTL: 5m
  minTLSVersion: "1.2"
  capture: inbound
  drain: 0s
quarantine: [/web, "spiffe://auxiliary.org/*"]
networkPolicies: true
required: {allow: [permissive, hostPID]}
limits: {annotationBytes: 1, listeners: 2, upstreams: 3, routes: 4, peers: 5, callers: 6, rules: 7, trustDomains: 8, dnsNames: 9, containers: 10, entries: 11, ports: 12, objects: 13, entriesPerNamespace: 50}
locked: [proxy-image, mode]
foreignAnnotations: [spiffe.io/audience]
`

func TestParsePlatformInFull(t *testing.T) {
	got, err := ParsePlatform([]byte(platformTextInFull))
	if err != nil {
		t.Fatal(err)
	}
	auxiliary := spiffeid.RequireTrustDomainFromString("auxiliary.org")
	partner := spiffeid.RequireTrustDomainFromString("partner.org")
	var peers []ir.Peer
	for _, text := range []string{"/web", "spiffe://auxiliary.org/*"} {
		peer, err := ir.ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliary}, text)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, peer)
	}
	collector, err := ir.ParseAddress("otel:4317")
	if err != nil {
		t.Fatal(err)
	}
	otel, err := ir.ParsePeer(exampleOrg, nil, "/otel")
	if err != nil {
		t.Fatal(err)
	}
	comparePlatforms(t, Platform{
		ServerAddress: "unix:///run/spire/private/api.sock",
		AgentSocket:   AgentSocket{CSI: "csi.spiffe.io", File: "a.sock"},
		OnUnavailable: Admit,
		Prewarm:       true,
		IPFamily:      new(ir.DualStack),
		ClusterDomain: "k8s.example.org",
		Federation: []registrar.Federated{
			{
				Relationship: registrar.Relationship{
					TrustDomain:       auxiliary,
					BundleEndpointURL: "https://auxiliary.org:8443",
					Profile:           registrar.HTTPSWeb,
				},
				Refresh: 10 * time.Second,
			},
			{
				Relationship: registrar.Relationship{
					TrustDomain:       partner,
					BundleEndpointURL: "https://10.0.0.1/bundle",
					Profile:           registrar.HTTPSSPIFFE,
					EndpointSPIFFEID:  spiffeid.RequireFromPath(partner, "/spire/server"),
				},
				Refresh: 5 * time.Minute,
			},
		},
		Templates: []IDTemplate{{"/{label:app}"}, {"/fixed"}},
		Claims: []Claim{{
			Namespaces:      []string{"edge"},
			ServiceAccounts: []string{"web"},
			Paths:           []string{"/edge"},
			DNSNames:        []string{"*.example.org"},
			Flags:           []Flag{FlagDownstream, FlagAdmin},
		}},
		Sidecar: Sidecar{
			Image:          "envoy",
			Resources:      memoryLimit("64Mi"),
			LogLevel:       "debug",
			Concurrency:    2,
			MaxConnections: 500,
			Metrics:        ir.Metrics{Port: 15091, Include: []string{"http.inbound_"}},
			Capture:        OwnContainer{Image: "injector", Resources: memoryLimit("16Mi")},
			JWT:            OwnContainer{Image: "injector", Resources: memoryLimit("32Mi")},
			Files:          OwnContainer{Image: "files", Resources: memoryLimit("16Mi")},

			UnboundedStreams: true,
			Tracing:          ir.Tracing{Collector: collector, Peers: []ir.Peer{otel}, Percent: 0.5},
		},
		InPlace: true,

		EntriesPerNamespace: 50,

		InboundPort:        9443,
		AllowedPeers:       peers,
		FederatesWith:      []spiffeid.TrustDomain{auxiliary},
		X509SVIDTTL:        30 * time.Second,
		JWTSVIDTTL:         5 * time.Minute,
		MinTLS:             ir.TLS12,
		Capture:            true,
		Quarantine:         peers,
		NetworkPolicies:    true,
		AllowedExceptions:  []Exception{ExceptionPermissive, ExceptionHostPID},
		Bounds:             Bounds{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13},
		Locked:             []string{"proxy-image", "mode"},
		ForeignAnnotations: []string{"spiffe.io/audience"},
	}, got)
	selectors := got.Cluster.NodeAlias().Selectors
	if len(selectors) != 1 || selectors[0].String() != "k8s_psat:agent_ns:spire" {
		t.Errorf("expected the node selector of the file, got %v", selectors)
	}
}

func memoryLimit(quantity string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(quantity)}}
}

// comparePlatforms leaves out the cluster, which is compared by what it makes.
func comparePlatforms(t *testing.T, want, got Platform) {
	t.Helper()
	if got.Cluster.Name != "demo-cluster" || got.Cluster.TrustDomain != exampleOrg {
		t.Errorf("expected demo-cluster of example.org, got %s of %s", got.Cluster.Name, got.Cluster.TrustDomain)
	}
	equal := cmp.Options{
		cmpopts.IgnoreFields(Platform{}, "Cluster"), cmp.AllowUnexported(IDTemplate{}),
		cmpopts.EquateComparable(ir.Peer{}, ir.Address{}, spiffeid.TrustDomain{}, spiffeid.ID{}),
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("platform (-want +got):\n%s", diff)
	}
}

// federation is the beginning of spire with these relationships.
func federation(items ...string) string {
	return "spire:\n  federation:\n  - " + strings.Join(items, "\n  - ") + "\n"
}

// aOrg is the beginning of a relationship.
const aOrg = "trustDomain: a.org, bundleEndpoint: 'https://a.org'"

// Each field is broken alone, by a change of the valid file.
func TestParsePlatformRefuses(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string // the whole error; one that ends in … only begins so
	}{
		{"another version", "v1alpha1", "v2",
			`expected apiVersion injector.spiffe.io/v1alpha1 and kind InjectorConfig, got "injector.spiffe.io/v2" ` +
				`and "InjectorConfig"`},
		{"another kind", "kind: InjectorConfig", "kind: ConfigMap",
			`expected apiVersion injector.spiffe.io/v1alpha1 and kind InjectorConfig, got ` +
				`"injector.spiffe.io/v1alpha1" and "ConfigMap"`},
		{"no trust domain", "trustDomain: example.org", "",
			`trustDomain: expected a trust domain such as example.org, got "": trust domain is missing`},
		{"a path in the trust domain", "trustDomain: example.org", "trustDomain: spiffe://example.org/x y",
			`trustDomain: expected a trust domain such as example.org, got "spiffe://example.org/x y": …`},
		{"no cluster name", "clusterName: demo-cluster", "", `clusterName: cluster name "": expected 1 to 128 …`},
		{"bad cluster name", "demo-cluster", "demo/cluster", `clusterName: cluster name "demo/cluster": expected 1 to 128 …`},
		{"bad scope", "spire:\n", "spire:\n  entryScope: pod\n",
			`spire.entryScope: expected node or cluster, got "pod"; …`},
		{"nodes without UIDs", "spire:\n", "spire:\n  nodeSelectors: [x509pop:subject:cn:a]\n",
			`spire.entryScope: node takes nodes that attest by k8s_psat, …`},
		{"bad prewarm", "spire:\n", "spire:\n  prewarm: always\n", `spire.prewarm: …`},
		{"too many entries", "trustDomain:", "limits: {entriesPerNamespace: 100001}\ntrustDomain:",
			`limits.entriesPerNamespace: expected 1 to 100000, got 100001`},
		{"bad node selector", "spire:\n", "spire:\n  nodeSelectors: [k8s_psat]\n",
			`spire.nodeSelectors[0]: selector "k8s_psat:": expected type:value, …`},
		{"no server", `{address: "spire-server.spire:8081"}`, "{}",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got ""`},
		{"server without port", "spire-server.spire:8081", "spire-server.spire",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got "spire-server.spire"`},
		{"server by URL", "spire-server.spire:8081", "https://spire-server.spire:8081",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got ` +
				`"https://spire-server.spire:8081"`},
		{"server on no port", "spire-server.spire:8081", "spire-server.spire:0",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got "spire-server.spire:0"`},
		{"server by relative socket", "spire-server.spire:8081", "unix://api.sock",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got "unix://api.sock"`},
		{"relative socket directory", "hostPath: /run", "hostPath: run",
			`spire.agentSocket.hostPath: expected the absolute path of the directory that holds the agent's socket, ` +
				`got "run/spire/sockets"`},
		{"no socket file", ", file: agent.sock", "",
			`spire.agentSocket.file: expected the socket's file name inside that directory, such as agent.sock, got ""`},
		{"a path as socket file", "file: agent.sock", "file: ../agent.sock",
			`spire.agentSocket.file: expected the socket's file name inside that directory, such as agent.sock, got ` +
				`"../agent.sock"`},
		{"two sockets", "hostPath: /run", "csi: csi.spiffe.io, hostPath: /run",
			"spire.agentSocket.hostPath: expected one of hostPath and csi, got both"},
		{"bad CSI driver", "hostPath: /run/spire/sockets", "csi: CSI_driver",
			`spire.agentSocket.csi: expected the name of a CSI driver such as csi.spiffe.io, got "CSI_driver"`},
		{"onUnavailable", "spire:\n", "spire:\n  onUnavailable: dent\n",
			`spire.onUnavailable: expected admit or deny, got "dent"; did you mean "deny"?`},
		{"federation with the own trust domain", "spire:\n",
			federation("{trustDomain: example.org, bundleEndpoint: 'https://a.org'}"),
			`spire.federation[0].trustDomain: expected foreign trust domains, got the own one, "example.org"`},
		{"federation with nobody", "spire:\n", federation("{bundleEndpoint: 'https://a.org'}"),
			`spire.federation[0].trustDomain: expected a trust domain such as auxiliary.org, got "": trust domain is missing`},
		{"federation twice", "spire:\n",
			federation("{"+aOrg+"}", "{trustDomain: b.org, bundleEndpoint: 'https://b.org'}",
				"{trustDomain: a.org, bundleEndpoint: 'https://c.org'}"),
			`spire.federation[2].trustDomain: a.org is that of spire.federation[0] already, ` +
				`expected one relationship for each trust domain`},
		{"federation without endpoint", "spire:\n", federation("{trustDomain: a.org}"),
			`spire.federation[0].bundleEndpoint: expected an https URL with a host and without a user, ` +
				`as in https://spire.auxiliary.org:8443, got ""`},
		{"federation in plain text", "spire:\n", federation("{trustDomain: a.org, bundleEndpoint: 'http://a.org'}"),
			`spire.federation[0].bundleEndpoint: expected an https URL with a host and without a user, ` +
				`as in https://spire.auxiliary.org:8443, got "http://a.org"`},
		{"another profile", "spire:\n",
			federation("{" + aOrg + ", profile: https-web, endpointSPIFFEID: x}"),
			`spire.federation[0].profile: expected https_web or https_spiffe, got "https-web"; did you mean "https_web"?`},
		{"https_spiffe without ID", "spire:\n", federation("{" + aOrg + ", profile: https_spiffe}"),
			`spire.federation[0].endpointSPIFFEID: expected the SPIFFE ID of the server at the bundle endpoint, ` +
				`such as spiffe://auxiliary.org/spire/server, got "": …`},
		{"https_web with ID", "spire:\n",
			federation("{" + aOrg + ", endpointSPIFFEID: 'spiffe://a.org/x'}"),
			`spire.federation[0].endpointSPIFFEID: only a server with profile https_spiffe has one, got "spiffe://a.org/x" with https_web`},
		{"refreshed too often", "spire:\n", federation("{" + aOrg + ", refresh: 9s}"),
			`spire.federation[0].refresh: expected a duration from 10s to 24h0m0s, got "9s"`},
		{"refreshed too rarely", "spire:\n", federation("{" + aOrg + ", refresh: 25h}"),
			`spire.federation[0].refresh: expected a duration from 10s to 24h0m0s, got "25h"`},
		{"refreshed sometime", "spire:\n", federation("{" + aOrg + ", refresh: daily}"),
			`spire.federation[0].refresh: expected a duration from 10s to 24h0m0s, got "daily"`},
		{"unknown field of a federation", "spire:\n",
			federation("{" + aOrg + ", bundleEndpointURL: x}"),
			`spire.federation[0].bundleEndpointURL: unknown field; did you mean "bundleEndpoint"?`},
		{"bad template", "identity:\n", "identity:\n  templates: [/ok, x]\n",
			`identity.templates[1]: template "x": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
		{"bad claim", "paths: [/api]", "paths: [api]",
			`identity.claims[0].paths[0]: expected a path such as /api or /team/*, got "api"`},
		{"no image", "image: envoy", "", "sidecar.image: expected Envoy's image, got nothing"},
		{"half a digest", "image: envoy", "image: envoy@sha256:abc, jwt: {image: \"inj ector\"}",
			`sidecar.image: expected an image such as envoy:v1.40.0, or envoy@sha256: with 64 hexadecimal digits, got "envoy@sha256:abc"` +
				"\n" +
				`sidecar.jwt.image: expected an image such as envoy:v1.40.0, or envoy@sha256: with 64 hexadecimal digits, got "inj ector"`},
		{"captured without an image", "image: envoy}", "image: envoy, capture: {image: 'a b'}}\ndefaults: {capture: both}",
			`sidecar.capture.image: expected an image such as envoy:v1.40.0, or envoy@sha256: with 64 hexadecimal digits, got "a b"` +
				"\n" + `defaults.capture: expected none or inbound, got "both"`},
		{"captured by default without an image", "image: envoy}", "image: envoy}\ndefaults: {capture: inbound}",
			`defaults.capture: inbound takes sidecar.capture.image, the injector's own image, which is not there`},
		{"an exception that is none", "image: envoy}", "image: envoy}\nrequired: {allow: [plain, sockt]}",
			`required.allow[0]: expected socket or files or public …`},
		{"no collector", "image: envoy", "image: envoy, tracing: {samplingPercent: 100}",
			`sidecar.tracing.address: expected host:port such as "collector.tracing.svc:4317", got nothing`},
		{"collector by URL", "image: envoy", `image: envoy, tracing: {address: "http://otel:4317"}`,
			`sidecar.tracing.address: address "http://otel:4317": …`},
		{"more than all", "image: envoy", `image: envoy, tracing: {address: "otel:4317", samplingPercent: 100.1}`,
			"sidecar.tracing.samplingPercent: expected 0 to 100, such as 0.5, got 100.1"},
		{"less than none", "image: envoy", `image: envoy, tracing: {address: "otel:4317", samplingPercent: -1}`,
			"sidecar.tracing.samplingPercent: expected 0 to 100, such as 0.5, got -1"},
		{"collector of another domain", "image: envoy", `image: envoy, tracing: {address: "otel:4317", peers: [spiffe://auxiliary.org/otel]}`,
			"sidecar.tracing.peers[0]: peer \"spiffe://auxiliary.org/otel\": …"},
		{"unknown streams", "image: envoy", "image: envoy, streams: endless",
			`sidecar.streams: expected "unbounded" or nothing, got "endless"`},
		{"unknown rollout", "image: envoy", "image: envoy, rollout: inplace",
			`sidecar.rollout: expected "inPlace" or nothing, got "inplace"`},
		{"bad log level", "image: envoy", "image: envoy, logLevel: warn",
			`sidecar.logLevel: expected one of trace, debug, info, warning, error, critical, off, got "warn"`},
		{"no threads", "image: envoy", "image: envoy, concurrency: -1",
			"sidecar.concurrency: expected 1 to 64 worker threads, got -1"},
		{"too many threads", "image: envoy", "image: envoy, concurrency: 65",
			"sidecar.concurrency: expected 1 to 64 worker threads, got 65"},
		{"bad quantity", "image: envoy", "image: envoy, resources: {limits: {memory: 1Gx}}",
			"sidecar.resources: quantities must match the regular expression …"},
		{"too little memory", "image: envoy", "image: envoy, resources: {limits: {memory: 47Mi}}",
			"sidecar.resources: expected a memory limit of at least 48Mi for Envoy, or none, got 47Mi"},
		{"unknown field of resources", "image: envoy", "image: envoy, resources: {limit: {}}",
			`sidecar.resources: unknown field "limit"; did you mean "limits"?`},
		{"bad quantity beside Envoy", "image: envoy", "image: envoy, jwt: {resources: {limits: {memory: 1Gx}}}",
			"sidecar.jwt.resources: quantities must match the regular expression …"},
		{"bad inbound port", "sidecar:", "defaults: {inboundPort: 65536}\nsidecar:",
			"defaults.inboundPort: expected a port from 1 to 65535, got 65536"},
		{"bad peer", "sidecar:", "defaults: {allowedPeers: [/ok, web]}\nsidecar:", `defaults.allowedPeers[1]: peer "web": …`},
		{"foreign peer without federation", "sidecar:", "defaults: {allowedPeers: [spiffe://auxiliary.org/x]}\nsidecar:",
			`defaults.allowedPeers[0]: peer "spiffe://auxiliary.org/x": …`},
		{"federation with itself", "sidecar:", "defaults: {federatesWith: [example.org]}\nsidecar:",
			`defaults.federatesWith[0]: expected foreign trust domains, got the own one, "example.org"`},
		{"federation with an ID", "sidecar:", "defaults: {federatesWith: [\"spiffe://a.org/x\"]}\nsidecar:",
			`defaults.federatesWith[0]: expected a trust domain such as auxiliary.org, got "spiffe://a.org/x"; did ` +
				`you mean "a.org"?`},
		{"old TLS", "sidecar:", "defaults: {minTLSVersion: \"1.1\"}\nsidecar:",
			`defaults.minTLSVersion: minTLSVersion "1.1": expected one of 1.3, 1.2`},
		{"TLS by a number", "sidecar:", "defaults: {minTLSVersion: 1.2}\nsidecar:",
			`defaults.minTLSVersion: expected a text, got 1.2; write it in quotes`},
		{"limit of nothing", "sidecar:", "limits: {peers: -1}\nsidecar:", "limits.peers: expected 1 to 10000, got -1"},
		{"limit that is none", "sidecar:", "limits: {entries: 1025}\nsidecar:", "limits.entries: expected 1 to 1024, got 1025"},
		{"endless drain", "sidecar:", "defaults: {drain: 301s}\nsidecar:",
			`defaults.drain: expected whole seconds from 0s to 5m0s, got "301s"`},
		{"negative drain", "sidecar:", "defaults: {drain: -1s}\nsidecar:",
			`defaults.drain: expected whole seconds from 0s to 5m0s, got "-1s"`},
		{"bad JWT-SVID life", "sidecar:", "defaults: {jwtSVIDTTL: 1ms}\nsidecar:",
			`defaults.jwtSVIDTTL: expected whole seconds from 10s to 720h0m0s, got "1ms"`},
		{"bad metrics port", "image: envoy", "image: envoy, metrics: {port: -1}",
			"sidecar.metrics.port: expected a port from 1 to 65535, got -1"},
		{"metrics on a port of the sidecar", "image: envoy", "image: envoy, metrics: {port: 15022}",
			"sidecar.metrics.port: port 15022 is the sidecar's own, expected another one than 15000, 15021 to 15089"},
		{"inbound on a port of the sidecar", "sidecar:", "defaults: {inboundPort: 15000}\nsidecar:",
			"defaults.inboundPort: port 15000 is the sidecar's own, expected another one than 15000, 15021 to 15089"},
		{"inbound on the metrics port", "image: envoy", "image: envoy, metrics: {port: 8443}",
			"defaults.inboundPort: port 8443 is that of sidecar.metrics"},
		{"everybody quarantined", "sidecar:", "quarantine: [/*]\nsidecar:",
			"quarantine[0]: spiffe://example.org/* would cut off every pod of the trust domain from every other one; name paths, " +
				"such as /ns/team/*"},
		{"SPIRE quarantined", "sidecar:", "quarantine: [/spire/server]\nsidecar:",
			"quarantine[0]: spiffe://example.org/spire/server is of SPIRE or of the injector itself: IDs under /spire/ are no workload's"},
		{"no peer quarantined", "sidecar:", "quarantine: [web]\nsidecar:",
			`quarantine[0]: peer "web": expected a path such as "/web", a full SPIFFE ID, or either followed by "/*"; did you mean "/web"?`},
		{"too many quarantined", "sidecar:", "quarantine: [" + manyPaths(maxQuarantined+1) + "]\nsidecar:",
			`quarantine[64]: expected at most 64 identities, got one more: "/64"; /* after a path stands for all below it`},
		{"unknown key locked", "sidecar:", "locked: [proxyimage]\nsidecar:",
			`locked[0]: expected the name of an annotation without spiffe.io/, such as proxy-image, got ` +
				`"proxyimage"; did you mean "proxy-image"?`},
		{"locked with prefix", "sidecar:", "locked: [spiffe.io/mode]\nsidecar:",
			`locked[0]: expected the name of an annotation without spiffe.io/, such as proxy-image, got ` +
				`"spiffe.io/mode"; did you mean "mode"?`},
		{"what the injector works by locked", "sidecar:", "locked: [refresh]\nsidecar:",
			`locked[0]: expected the name of an annotation without spiffe.io/, such as proxy-image, got "refresh"…`},
		{"what the webhook writes locked", "sidecar:", "locked: [status]\nsidecar:",
			`locked[0]: expected the name of an annotation without spiffe.io/, such as proxy-image, got "status"…`},
		{"own key as foreign", "sidecar:", "foreignAnnotations: [spiffe.io/mode]\nsidecar:",
			`foreignAnnotations[0]: expected a key under spiffe.io/ that is not the injector's own, got "spiffe.io/mode"`},
		{"key of nobody's as foreign", "sidecar:", "foreignAnnotations: [example.org/x]\nsidecar:",
			`foreignAnnotations[0]: expected a key under spiffe.io/ that is not the injector's own, got "example.org/x"`},
		{"second document", "sidecar:", "---\nsidecar:", "expected YAML: expected one YAML document, got more after ---"},
		{"no duration", "sidecar:", "defaults: {x509SVIDTTL: soon}\nsidecar:",
			`defaults.x509SVIDTTL: expected a duration such as 30s or 1h, got "soon"`},
		{"too short", "sidecar:", "defaults: {x509SVIDTTL: 9s}\nsidecar:",
			`defaults.x509SVIDTTL: expected whole seconds from 10s to 720h0m0s, got "9s"`},
		{"too long", "sidecar:", "defaults: {x509SVIDTTL: 721h}\nsidecar:",
			`defaults.x509SVIDTTL: expected whole seconds from 10s to 720h0m0s, got "721h"`},
		{"half a second", "sidecar:", "defaults: {x509SVIDTTL: 10500ms}\nsidecar:",
			`defaults.x509SVIDTTL: expected whole seconds from 10s to 720h0m0s, got "10500ms"`},

		{"unknown field", "sidecar:", "unlocked: []\nsidecar:", `unlocked: unknown field; did you mean "locked"?`},
		{"unknown field further down", "server: {", "server: {port: 1, ", "spire.server.port: unknown field"},
		{"unknown field in a list", "paths: [/api]", "paths: [/api], path: /x",
			`identity.claims[0].path: unknown field; did you mean "paths"?`},
		{"a field in other letters", "image: envoy", "image: envoy, loglevel: debug",
			`sidecar.loglevel: unknown field; did you mean "logLevel"?`},
		{"a field twice", "clusterName:", "trustDomain: a.org\nclusterName:",
			"expected YAML: yaml: unmarshal errors:\n  line 5: key \"trustDomain\" already set in map"},
		{"a field of another type", "clusterName: demo-cluster", "clusterName: [a]",
			`clusterName: expected a text, got ["a"]`},
		{"two mistakes", "hostPath: /run/spire/sockets, file: agent.sock", "hostPth: /run",
			"spire.agentSocket.hostPth: unknown field; did you mean \"hostPath\"?\n" +
				"spire.agentSocket.hostPath: expected the absolute path of the directory that holds the agent's socket, got \"\"\n" +
				"spire.agentSocket.file: expected the socket's file name inside that directory, such as agent.sock, got \"\""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(platformText, test.old, test.new, 1)
			if text == platformText {
				t.Fatalf("the file has no %q", test.old)
			}
			p, err := ParsePlatform([]byte(text))
			if err == nil {
				t.Fatal("expected an error, got none")
			}
			if beginning, ok := strings.CutSuffix(test.want, "…"); ok && strings.HasPrefix(err.Error(), beginning) {
				return
			}
			wantError(t, err, test.want)
			if !reflect.DeepEqual(p, Platform{}) {
				t.Errorf("expected nothing beside the error, got %+v", p)
			}
		})
	}
}

// manyPaths are the items /0, /1 and so on.
func manyPaths(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("/%d", i)
	}
	return strings.Join(items, ", ")
}
