package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// annotation is one row of the table of annotations: everything that is known of a key is known from here.
type annotation struct {
	key     string
	doc     string // meaning, for people
	example string
	live    bool // may change on a running pod
	// parse puts the value into the intent. It is nil for what the webhook writes, which no user may set.
	parse func(r *reader, value string) []problem
	// model is the part of [Intent.Proxy] that it says, as paths of [ir.Problem] begin; empty if none.
	model string
}

// name is the key without our prefix, by which the platform file locks it.
func (a annotation) name() string { return strings.TrimPrefix(a.key, Prefix) }

// problem is a mistake inside one annotation. Path leads to the item, such as "[0].peers", and is empty for the whole
// value.
type problem struct {
	path string
	err  error
}

func whole(err error) []problem {
	if err == nil {
		return nil
	}
	return []problem{{err: err}}
}

// Parts of the model that annotations say. The peers of listeners that say none are a part of their own.
const (
	modelInbound      = "inbound"
	modelUpstreams    = "upstreams"
	modelAllowedPeers = "allowedPeers"
)

// annotations is the only place where an annotation is defined. They are parsed in this order: what another one is read
// by, such as the mode and the federated domains, comes before it.
var annotations = slices.Concat([]annotation{
	{key: AnnotationMode, example: "sidecar,socket", parse: (*reader).parseMode,
		doc: "a list of: sidecar (default); gateway: the pod is only an Envoy, in a container envoy with image auto; " +
			"socket: the app's containers get the Workload API and SPIFFE_ENDPOINT_SOCKET; " +
			"files: they get SVID, key and bundles as files in " + FilesMountPath},
	{key: AnnotationFiles, example: "{containers: [db], signal: {process: postgres}}", parse: (*reader).parseFiles,
		doc: "in mode files, YAML of {containers, signal, jwt}: containers that see the files (default: all), which have one user; " +
			"signal is {process, name}: when certificates, key or bundles have changed, that program gets the signal " +
			"SIGHUP (default), SIGUSR1 or SIGUSR2, in a pod with shareProcessNamespace; " +
			"jwt is a list of {file, audience}: a JWT-SVID for each"},
	{key: AnnotationSPIFFEID, example: "/api", parse: (*reader).parseSPIFFEID, model: "id",
		doc: "the identity asked for: a path in the own trust domain, or a full SPIFFE ID of it"},
	{key: AnnotationFederatesWith, example: "auxiliary.org", live: true, parse: (*reader).parseFederatesWith,
		doc: "foreign trust domains whose peers may appear in the lists of peers, separated by commas or white space"},
	{key: AnnotationCapture, example: captureInbound, parse: (*reader).parseCapture,
		doc: "inbound: the TCP ports that the app's containers declare are led to Envoy inside the pod, and its other ports closed, so that " +
			"app, Service and the addresses of callers stay as they are; a port without a listener of its own gets one for allowed-peers, and " +
			"inbound may leave listen out. none (default): callers call Envoy's ports"},
	{key: AnnotationAppPort, example: `"8080"`, parse: (*reader).parseAppPort, model: modelInbound + "[0].app",
		doc: "one inbound mTLS listener on the platform's inbound port, forwarding to this port on localhost, by the protocol that " +
			"appProtocol of its Services says, or else the name of the container's port: http (default), http2, h2c, grpc, tcp, or a name " +
			"that begins with one of them and a hyphen"},
	{
		key:     AnnotationAllowedPeers,
		example: "/web, /ns/prod/*",
		live:    true,
		parse:   (*reader).parseAllowedPeers,
		model:   modelAllowedPeers,
		doc:     "who may call: SPIFFE IDs or paths separated by commas or white space; a trailing /* allows everything below",
	},
	{
		key:     AnnotationInbound,
		example: "- {listen: 8443, app: 8080, protocol: grpc, peers: [/web]}",
		live:    true,
		parse:   (*reader).parseInbound,
		model:   modelInbound,
		doc: "instead of app-port, a YAML list of {listen, app, protocol, peers, tls, jwt, clientCertificate, certificate, minTLSVersion, " +
			"forwardedClients, trustedProxies, limits}: " +
			`app is a port on 127.0.0.1, or "[::1]:8080", or "podIP:8080" for an app on the address of the pod; ` +
			"protocol is http (default), http2, grpc or tcp; " +
			"peers are allowed-peers if not given, and an item of them may be {id, methods, paths}, for what it may ask for; tls is mutual (default), permissive (mTLS and plain text on one port) or none; " +
			"jwt is {audiences, subjects}: each request also needs a JWT-SVID for one of audiences (default: the pod's own SPIFFE ID) " +
			"of one of subjects, written as peers are; jwt in a pod that had none needs a new pod; " +
			"trustedProxies is how many proxies stand before a public port; " +
			"the last six are for gateways and the services behind them",
	},
	{
		key:     AnnotationUpstreams,
		example: `- {listen: 8000, address: "api.default.svc:8443", peers: [/api]}`,
		live:    true,
		parse:   (*reader).parseUpstreams,
		model:   modelUpstreams,
		doc: "a YAML list of {listen, address, peers, protocol, host, tls, jwt, passthrough}: the app talks to 127.0.0.1:listen, Envoy speaks mTLS to address and " +
			`accepts only peers; listen may be a name and port that the app calls anyway, such as "api:8080": then address may be left out, if it ` +
			"is that name and port too, and passthrough lists ports of that name where bytes go as they are, which with capture are all others; another name needs a new pod; in gateway mode {match, address, peers, protocol, host, tls, jwt}, routes by [host]/path of the inbound listeners; " +
			"host is what every request says in Host (default: what was written; for 127.0.0.1 and localhost the name in address); " +
			"jwt is {audience}: each request gets a JWT-SVID for it (default: the one peer); another audience needs a new pod; " +
			"tls in the place of peers is {ca, sni, clientCertificate}: address is outside the mesh, its server has a certificate of ca, " +
			"which is system or {secret: NAME}, for sni (default: the host of address), and gets the SVID with clientCertificate: svid; " +
			"another Secret needs a new pod; timeout, connectTimeout, idleTimeout, retries {attempts, retryOn, perTryTimeout}, outlierDetection " +
			"{consecutiveErrors, interval, ejectionTime, maxEjectionPercent} and maxConnections say what becomes of calls to peers that are " +
			"slow, fail or are gone",
	},
	{key: AnnotationEnforcement, example: enforcementAudit, live: true, parse: (*reader).parseEnforcement,
		doc: "enforce (default), or audit: every peer of a trusted domain passes, those outside the lists are logged and counted"},
	{key: AnnotationPlainPorts, example: "9090, 9100", live: true, parse: (*reader).parsePlainPorts,
		doc: "ports of the app, separated by commas or white space, that stay open for plain text where networkPolicies of the " +
			"platform file close all but Envoy's"},
	{key: AnnotationX509SVIDTTL, example: "30s", parse: (*reader).parseX509SVIDTTL, model: "svidTTL",
		doc: "TTL of the X.509-SVID, a Go duration"},
	{key: AnnotationJWTSVIDTTL, example: "5m", parse: (*reader).parseJWTSVIDTTL,
		doc: "TTL of JWT-SVIDs, a Go duration"},
	{key: AnnotationDNSNames, example: "api.example.org", parse: (*reader).parseDNSNames,
		doc: "DNS names in the X.509-SVID, separated by commas or white space; each needs a claim by the platform"},
	{key: AnnotationDownstream, example: `"true"`, parse: (*reader).parseDownstream,
		doc: "the identity may run a nested SPIRE server; needs a claim by the platform"},
	{key: AnnotationAdmin, example: `"true"`, parse: (*reader).parseAdmin,
		doc: "the identity may use SPIRE's management API; needs a claim by the platform"},
	{key: AnnotationProxyImage, example: "envoyproxy/envoy:v1.40.0", parse: (*reader).parseProxyImage,
		doc: "Envoy's image"},
	{key: AnnotationProxyLogLevel, example: "info", parse: (*reader).parseProxyLogLevel,
		doc: "Envoy's log level: " + strings.Join(logLevels, ", ")},
	{key: AnnotationProxyConcurrency, example: `"2"`, parse: (*reader).parseProxyConcurrency,
		doc: fmt.Sprintf("Envoy's worker threads, 1 to %d", maxConcurrency)},
	{
		key:     AnnotationProxyResources,
		example: "{requests: {cpu: 100m, memory: 128Mi}}",
		parse:   (*reader).parseProxyResources,
		doc:     "resources of Envoy's container, in YAML",
	},
	{key: AnnotationRefresh, example: `"1"`, live: true, parse: (*reader).parseRefresh,
		doc: "another value than before, up to 64 bytes, regenerates the configuration of a running pod from its namespace and the platform " +
			"file; the injector writes it when they change, at its --rollout-rate"},
	{key: AnnotationStatus, doc: "what was injected, as JSON"},
	{key: AnnotationBootstrap, doc: "Envoy's bootstrap configuration"},
	{key: AnnotationListeners, doc: "Envoy's listeners"},
	{key: AnnotationClusters, doc: "Envoy's clusters"},
	{key: AnnotationAuthorization, doc: "Envoy's HTTP authorization rules"},
	{key: AnnotationCertificate, doc: "where Envoy finds a Secret's certificate"},
}, annotationsOfCAs())

func annotationsOfCAs() []annotation {
	rows := make([]annotation, ir.MaxCASecrets)
	for n := range rows {
		rows[n] = annotation{key: AnnotationCA(n), doc: "where Envoy finds the CA of a Secret"}
	}
	return rows
}

// foreignAnnotations under our prefix belong to other tools and are left alone. The platform can name more.
var foreignAnnotations = []string{
	Prefix + "federatesWith", // SPIRE's former workload registrar
}

var logLevels = []string{"trace", "debug", "info", "warning", "error", "critical", "off"}

func annotationFor(key string) (annotation, bool) {
	i := slices.IndexFunc(annotations, func(a annotation) bool { return a.key == key })
	if i < 0 {
		return annotation{}, false
	}
	return annotations[i], true
}

// IsFrozen says whether an annotation is one whose change a running pod cannot take. It is false for a key that is not
// in the table, which is refused for what it is when it is parsed.
func IsFrozen(key string) bool {
	row, known := annotationFor(key)
	return known && !row.live
}

// Examples are values that each annotation takes that users write, by its key.
func Examples() map[string]string {
	out := map[string]string{}
	for _, a := range annotations {
		if a.parse != nil {
			out[a.key] = strings.Trim(a.example, `"`)
		}
	}
	return out
}

// isOurs says whether a key is under our prefix and of no other tool.
func (p Platform) isOurs(key string) bool {
	return strings.HasPrefix(key, Prefix) && !slices.Contains(foreignAnnotations, key) &&
		!slices.Contains(p.ForeignAnnotations, key)
}

// WrittenByUsers are the keys that a user may set.
func WrittenByUsers() []string {
	return annotationKeys(func(a annotation) bool { return a.parse != nil })
}

// WrittenByWebhook are the keys that only the webhook may set.
func WrittenByWebhook() []string {
	return annotationKeys(func(a annotation) bool { return a.parse == nil })
}

func annotationKeys(wanted func(annotation) bool) []string {
	var keys []string
	for _, a := range annotations {
		if wanted(a) {
			keys = append(keys, a.key)
		}
	}
	return keys
}

// UnknownKeys are the keys under our prefix that no one knows, in order.
func (p Platform) UnknownKeys(values map[string]string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, known := annotationFor(key); p.isOurs(key) && !known {
			keys = append(keys, key)
		}
	}
	return keys
}

// portNumber accepts what a listener can bind.
func portNumber(n int) (uint16, error) {
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("expected a port from 1 to 65535, got %d", n)
	}
	return uint16(n), nil
}

// Bounds of a lifetime: SPIRE backdates by 10 s and renews at half-life, so that less than 10 s is never usable in
// time.
const (
	minTTL = 10 * time.Second
	maxTTL = 30 * 24 * time.Hour
)

func parseTTL(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("expected a duration such as 30s or 1h, got %q", s)
	}
	if d < minTTL || d > maxTTL || d%time.Second != 0 {
		return 0, fmt.Errorf("expected whole seconds from %s to %s, got %q", minTTL, maxTTL, s)
	}
	return d, nil
}
