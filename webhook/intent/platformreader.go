package intent

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// platformReader fills a platform section by section and collects what is wrong.
type platformReader struct {
	Platform
	errs []error
}

func (r *platformReader) fail(field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(field+": "+format, args...))
}

func (r *platformReader) readSPIRE(f platformFile) {
	td, err := spiffeid.TrustDomainFromString(f.TrustDomain)
	if err != nil {
		r.fail("trustDomain", "expected a trust domain such as example.org, got %q: %w", f.TrustDomain, err)
	} else if r.Cluster, err = cluster(f.ClusterName, td, f.SPIRE.NodeSelectors); err != nil {
		r.fail("clusterName and spire.nodeSelectors", "%w", err)
	}
	r.Cluster.TrustDomain = td
	r.ServerAddress = f.SPIRE.Server.Address
	if !isServerAddress(r.ServerAddress) {
		r.fail("spire.server.address", "expected unix:///path or host:port of the SPIRE server, got %q", r.ServerAddress)
	}
	r.AgentSocket = f.SPIRE.AgentSocket
	switch s := r.AgentSocket; {
	case s.CSI != "" && s.HostPath != "":
		r.fail("spire.agentSocket", "expected one of hostPath and csi, got both")
	case s.CSI != "" && len(validation.IsDNS1123Subdomain(s.CSI)) > 0:
		r.fail("spire.agentSocket.csi", "expected the name of a CSI driver such as csi.spiffe.io, got %q", s.CSI)
	case s.CSI == "" && !path.IsAbs(s.HostPath):
		r.fail("spire.agentSocket.hostPath", "expected the absolute path of the directory that holds the agent's socket, got %q", s.HostPath)
	}
	if file := r.AgentSocket.File; file == "" || strings.Contains(file, "/") {
		r.fail("spire.agentSocket.file", "expected the socket's file name inside that directory, such as agent.sock, got %q", file)
	}
	r.OnUnavailable = OnUnavailable(cmp.Or(f.SPIRE.OnUnavailable, string(Deny)))
	if v := r.OnUnavailable; v != Admit && v != Deny {
		r.fail("spire.onUnavailable", "expected %s or %s, got %q%s", Admit, Deny, v, afterSemicolon(didYouMean(string(v), string(Admit), string(Deny))))
	}
}

func (r *platformReader) readFederation(sections []federationSection) {
	first := map[spiffeid.TrustDomain]int{}
	for i, f := range sections {
		field := fmt.Sprintf("spire.federation[%d]", i)
		federated := r.federated(field, f)
		if federated.TrustDomain.IsZero() {
			continue // and reported
		}
		if other, twice := first[federated.TrustDomain]; twice {
			r.fail(field+".trustDomain", "%s is that of spire.federation[%d] already, expected one relationship for each trust domain", federated.TrustDomain, other)
			continue
		}
		first[federated.TrustDomain] = i
		r.Federation = append(r.Federation, federated)
	}
}

// federated reads one relationship. Its trust domain is zero if that is wrong.
func (r *platformReader) federated(field string, f federationSection) registrar.Federated {
	federated := registrar.Federated{Refresh: defaultBundleRefresh, Relationship: registrar.Relationship{
		BundleEndpointURL: f.BundleEndpoint, Profile: registrar.EndpointProfile(cmp.Or(f.Profile, string(registrar.HTTPSWeb))),
	}}
	domains, errs := parseFederated(r.Cluster.TrustDomain, []string{f.TrustDomain})
	for _, err := range errs {
		r.fail(field+".trustDomain", "%w", err)
	}
	if len(domains) > 0 {
		federated.TrustDomain = domains[0]
	}
	if err := registrar.CheckBundleEndpoint(f.BundleEndpoint); err != nil {
		r.fail(field+".bundleEndpoint", "%w, got %q", err, f.BundleEndpoint)
	}
	r.readEndpointIdentity(field, f.EndpointSPIFFEID, &federated.Relationship)
	if v := f.Refresh; v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < minBundleRefresh || d > maxBundleRefresh {
			r.fail(field+".refresh", "expected a duration from %s to %s, got %q", minBundleRefresh, maxBundleRefresh, v)
		}
		federated.Refresh = d
	}
	return federated
}

// readEndpointIdentity reads by what the server of a bundle is known.
func (r *platformReader) readEndpointIdentity(field, id string, relationship *registrar.Relationship) {
	var err error
	switch profile := relationship.Profile; {
	case profile == registrar.HTTPSSPIFFE:
		if relationship.EndpointSPIFFEID, err = spiffeid.FromString(id); err != nil {
			r.fail(field+".endpointSPIFFEID", "expected the SPIFFE ID of the server at the bundle endpoint, such as spiffe://auxiliary.org/spire/server, got %q: %w", id, err)
		}
	case profile != registrar.HTTPSWeb:
		r.fail(field+".profile", "expected %s or %s, got %q%s", registrar.HTTPSWeb, registrar.HTTPSSPIFFE, profile,
			afterSemicolon(didYouMean(string(profile), string(registrar.HTTPSWeb), string(registrar.HTTPSSPIFFE))))
	case id != "":
		r.fail(field+".endpointSPIFFEID", "only a server with profile %s has one, got %q with %s", registrar.HTTPSSPIFFE, id, profile)
	}
}

func (r *platformReader) readIdentity(f platformFile) {
	texts := f.Identity.Templates
	if len(texts) == 0 {
		texts = []string{defaultIDTemplate}
	}
	for i, s := range texts {
		t, err := ParseIDTemplate(s)
		if err != nil {
			r.fail(fmt.Sprintf("identity.templates[%d]", i), "%w", err)
		}
		r.Templates = append(r.Templates, t)
	}
	for i, c := range f.Identity.Claims {
		if err := c.validate(); err != nil {
			r.fail(fmt.Sprintf("identity.claims[%d]", i), "%w", err)
		}
	}
	r.Claims = f.Identity.Claims
}

func (r *platformReader) readSidecar(f sidecarSection) {
	r.Sidecar = Sidecar{Image: f.Image, LogLevel: cmp.Or(f.LogLevel, "warning"), Concurrency: cmp.Or(f.Concurrency, 1)}
	if f.Image == "" {
		r.fail("sidecar.image", "expected Envoy's image, got nothing")
	}
	var err error
	if len(f.Resources) > 0 { // on its own, because the error of a bad quantity does not say where it is
		if r.Sidecar.Resources, err = parseResources(f.Resources); err != nil {
			r.fail("sidecar.resources", "%w", err)
		}
	}
	if err := checkLogLevel(r.Sidecar.LogLevel); err != nil {
		r.fail("sidecar.logLevel", "%w", err)
	}
	if err := checkConcurrency(r.Sidecar.Concurrency); err != nil {
		r.fail("sidecar.concurrency", "%w", err)
	}
	r.Sidecar.JWT.Image = f.JWT.Image
	if len(f.JWT.Resources) > 0 {
		if r.Sidecar.JWT.Resources, err = parseResources(f.JWT.Resources); err != nil {
			r.fail("sidecar.jwt.resources", "%w", err)
		}
	}
	switch f.Rollout {
	case "":
	case rolloutInPlace:
		r.InPlace = true
	default:
		r.fail("sidecar.rollout", "expected %q or nothing, got %q", rolloutInPlace, f.Rollout)
	}
	if f.Metrics != nil {
		if r.Sidecar.Metrics.Include = f.Metrics.Include; f.Metrics.Include == nil {
			r.Sidecar.Metrics.Include = ir.DefaultStatistics()
		}
		if r.Sidecar.Metrics.Port, err = portForUse(cmp.Or(f.Metrics.Port, defaultMetricsPort)); err != nil {
			r.fail("sidecar.metrics.port", "%w", err)
		}
	}
}

func (r *platformReader) readDefaults(f defaultsSection) {
	var err error
	if r.InboundPort, err = portForUse(cmp.Or(f.InboundPort, defaultInboundPort)); err != nil {
		r.fail("defaults.inboundPort", "%w", err)
	} else if r.InboundPort == r.Sidecar.Metrics.Port {
		r.fail("defaults.inboundPort", "port %d is that of sidecar.metrics", r.InboundPort)
	}
	if len(f.FederatesWith) > 0 {
		var errs []error
		r.FederatesWith, errs = parseFederated(r.Cluster.TrustDomain, f.FederatesWith)
		for _, err := range errs {
			r.fail("defaults.federatesWith", "%w", err)
		}
	}
	for i, s := range f.AllowedPeers {
		peer, err := ir.ParsePeer(r.Cluster.TrustDomain, r.FederatesWith, s)
		if err != nil {
			r.fail(fmt.Sprintf("defaults.allowedPeers[%d]", i), "%w", err)
		}
		r.AllowedPeers = append(r.AllowedPeers, peer)
	}
	r.X509SVIDTTL = defaultSVIDTTL
	if v := f.X509SVIDTTL; v != "" {
		if r.X509SVIDTTL, err = parseTTL(v); err != nil {
			r.fail("defaults.x509SVIDTTL", "%w", err)
		}
	}
	if v := f.JWTSVIDTTL; v != "" {
		if r.JWTSVIDTTL, err = parseTTL(v); err != nil {
			r.fail("defaults.jwtSVIDTTL", "%w", err)
		}
	}
	r.Drain = defaultDrain
	if v := f.Drain; v != "" {
		if r.Drain, err = time.ParseDuration(v); err != nil || r.Drain < 0 || r.Drain > maxDrain || r.Drain%time.Second != 0 {
			r.fail("defaults.drain", "expected whole seconds from 0s to %s, got %q", maxDrain, v)
		}
	}
}

// lockable are the names by which annotations can be locked.
func lockable() []string {
	var names []string
	for _, key := range WrittenByUsers() {
		if key != AnnotationRefresh { // by which the injector works
			names = append(names, strings.TrimPrefix(key, Prefix))
		}
	}
	return names
}

func (r *platformReader) readKeys(f platformFile) {
	r.Locked, r.ForeignAnnotations = f.Locked, f.ForeignAnnotations
	for i, name := range f.Locked {
		if !slices.Contains(lockable(), name) {
			r.fail(fmt.Sprintf("locked[%d]", i), "expected the name of an annotation without %s, such as proxy-image, got %q%s", Prefix, name,
				afterSemicolon(didYouMean(strings.TrimPrefix(name, Prefix), lockable()...)))
		}
	}
	for i, key := range f.ForeignAnnotations {
		if _, known := annotationFor(key); known || !strings.HasPrefix(key, Prefix) {
			r.fail(fmt.Sprintf("foreignAnnotations[%d]", i), "expected a key under %s that is not the injector's own, got %q", Prefix, key)
		}
	}
}

// portForUse accepts a port that the sidecar does not always have for itself.
func portForUse(n int) (uint16, error) {
	if n == ir.AdminPort || n >= ir.ReadinessPort && n < defaultMetricsPort {
		return 0, fmt.Errorf("port %d is the sidecar's own, expected another one than %d, %d to %d", n,
			ir.AdminPort, ir.ReadinessPort, defaultMetricsPort-1)
	}
	return portNumber(n)
}

func checkLogLevel(v string) error {
	if slices.Contains(logLevels, v) {
		return nil
	}
	return withHint(fmt.Errorf("expected one of %s, got %q", strings.Join(logLevels, ", "), v), v, logLevels...)
}

func checkConcurrency(n int) error {
	if n < 1 || n > maxConcurrency {
		return fmt.Errorf("expected 1 to %d worker threads, got %d", maxConcurrency, n)
	}
	return nil
}

// parseResources reads a container's resources, in YAML or JSON.
func parseResources(data []byte) (corev1.ResourceRequirements, error) {
	var resources corev1.ResourceRequirements
	return resources, decodeStrictly(data, &resources)
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
