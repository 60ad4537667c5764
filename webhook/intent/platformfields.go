package intent

import (
	"fmt"
	"strings"

	"github.com/spire-injector/spire-injector/registrar"
)

// platformField is one field of the platform file, for people.
type platformField struct {
	path, doc string
	standard  string // what is without it; "required" when nothing is
}

const required = "required"

// platformFields are all fields of the platform file but those that say what the file is.
var platformFields = []platformField{
	{"trustDomain", "SPIRE's trust domain, such as example.org", required},
	{"clusterName", "tells the entries of this cluster apart from those of others on the same SPIRE server", required},
	{"spire.server.address", "of the SPIRE server: unix:///path, or host:port, where the injector presents its own admin SVID", required},
	{"spire.agentSocket.hostPath", "directory on the nodes that holds the agent's Workload API socket", "one of hostPath and csi"},
	{"spire.agentSocket.csi", "CSI driver that mounts that directory, such as csi.spiffe.io; passes Pod Security restricted", "one of hostPath and csi"},
	{"spire.agentSocket.file", "name of the socket in that directory", required},
	{"spire.nodeSelectors", "which nodes' agents may serve this cluster's workloads", "k8s_psat:cluster:CLUSTERNAME"},
	{"spire.onUnavailable", "while SPIRE does not answer, a pod with an identity that is not registered yet is denied (deny), or waits for its certificate (admit)", string(Deny)},
	{"spire.federation", "foreign trust domains whose bundles SPIRE fetches at an interval; a relationship that is removed from the list stays in SPIRE", "none"},
	{"spire.federation.trustDomain", "the foreign one, such as auxiliary.org", required},
	{"spire.federation.bundleEndpoint", "https URL of its bundle", required},
	{"spire.federation.profile", fmt.Sprintf("how its server is authenticated: %s, by a certificate of the public web, or %s, by an SVID; if that is one of the foreign trust "+
		"domain itself, SPIRE has to be given the first bundle (spire-server bundle set)", registrar.HTTPSWeb, registrar.HTTPSSPIFFE), string(registrar.HTTPSWeb)},
	{"spire.federation.endpointSPIFFEID", fmt.Sprintf("SPIFFE ID of that server under %s, such as spiffe://auxiliary.org/spire/server", registrar.HTTPSSPIFFE), "required there"},
	{"spire.federation.refresh", "time between two fetches, 10s to 24h", fmt.Sprint(defaultBundleRefresh)},
	{"identity.templates", "identities of pods that ask for none, the first whose variables all exist: {namespace}, {serviceAccount}, {label:KEY}", defaultIDTemplate},
	{"identity.claims", "who may hold identities outside /ns/OWN-NAMESPACE/, DNS names and flags, a list:", "none"},
	{"identity.claims.namespaces", "their namespaces, * for all", required},
	{"identity.claims.serviceAccounts", "their service accounts, * for all", required},
	{"identity.claims.paths", "paths of identities; a trailing /* stands for everything below", "none"},
	{"identity.claims.dnsNames", "DNS names; a leading *. stands for everything in that domain", "none"},
	{"identity.claims.flags", fmt.Sprintf("flags of registration entries: %s, %s", FlagDownstream, FlagAdmin), "none"},
	{"sidecar.image", "Envoy's image", required},
	{"sidecar.resources", "of Envoy's container", "none"},
	{"sidecar.logLevel", "Envoy's: " + strings.Join(logLevels, ", "), "warning"},
	{"sidecar.concurrency", fmt.Sprintf("Envoy's worker threads, 1 to %d", maxConcurrency), "1"},
	{"sidecar.rollout", rolloutInPlace + ": a changed image reaches running pods too; only Envoy's container restarts", "new pods only"},
	{"sidecar.jwt.image", "image of the spiffe-jwt sidecar: the injector's own; required if any pod uses jwt", "such pods are denied"},
	{"sidecar.jwt.resources", "of that sidecar", "none"},
	{"sidecar.metrics", "serves Envoy's statistics to Prometheus, at /stats/prometheus, if it is there", "off"},
	{"sidecar.metrics.port", "on this port", fmt.Sprint(defaultMetricsPort)},
	{"sidecar.metrics.include", "and only those whose names begin so, in Envoy's spelling", "traffic, refusals and certificates"},
	{"defaults.inboundPort", "where app-port is served", fmt.Sprint(defaultInboundPort)},
	{"defaults.allowedPeers", "peers of pods that name none", "none"},
	{"defaults.federatesWith", "foreign trust domains of pods that name none", "none"},
	{"defaults.x509SVIDTTL", "TTL of X.509-SVIDs, 10s to 720h", fmt.Sprint(defaultSVIDTTL)},
	{"defaults.jwtSVIDTTL", "TTL of JWT-SVIDs, 10s to 720h", "the SPIRE server's"},
	{"defaults.drain", "how long an ending pod still serves, up to 5m; 0s turns it off", fmt.Sprint(defaultDrain)},
	{"locked", "names, without " + Prefix + ", of annotations that neither pods nor namespaces may write", "none"},
	{"foreignAnnotations", "further annotations under " + Prefix + " that belong to other tools", "none"},
}
