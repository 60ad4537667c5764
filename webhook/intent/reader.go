package intent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxRefresh bounds the value of [AnnotationRefresh].
const maxRefresh = 64

// reader fills an [Intent] in, annotation by annotation. Its parse methods are the parsers of the table.
type reader struct {
	Intent
	platform  Platform
	namespace Namespace
	written   map[string]value
	admitted  AppProtocols // nil for a new pod

	hostNetwork bool        // the pod is in its node's network
	modeUnclear bool        // it was not understood: what depends on it is not told
	unclear     bool        // nor may be which annotations there are
	askedID     spiffeid.ID // zero when not asked for
	peers       []ir.Peer   // allowed-peers
	audit       bool
	short       bool // the inbound listener is that of app-port
	inbound     []listener
	askers      map[ir.Probe]string // where the user wrote what the kubelet asks of Envoy
	told        toldPaths
	counts      counts
}

// listener is an inbound listener as it is written, with what it takes from elsewhere.
type listener struct {
	ir.Inbound
	defaultPeers bool   // its peers are those of allowed-peers
	declaredBy   string // the container whose port it is for, if nobody wrote it and the pod is captured
	ownAudience  bool   // its tokens are for the pod's own SPIFFE ID
}

func newReader(p Platform, ns Namespace, pod *corev1.Pod) *reader {
	r := &reader{
		platform:  p,
		namespace: ns,
		written:   p.written(ns, pod),
		peers:     p.AllowedPeers,

		hostNetwork: pod.Spec.HostNetwork,
		Intent: Intent{
			Subject: SubjectOf(ns, pod),
			Mode:    ModeSidecar,
			Sidecar: p.Sidecar,
			Attributes: registrar.Attributes{
				FederatesWith: p.FederatesWith,
				X509SVIDTTL:   p.X509SVIDTTL,
				JWTSVIDTTL:    p.JWTSVIDTTL,
			},
		},
	}
	r.Proxy.Captured = p.Capture
	return r
}

func (r *reader) trustDomain() spiffeid.TrustDomain { return r.platform.Cluster.TrustDomain }

// readIdentity takes the ID asked for, or that of the platform's first template that applies.
func (r *reader) readIdentity() []Mistake {
	id, where := r.askedID, "identity, from the platform's identity.templates"
	if v, asked := r.written[AnnotationSPIFFEID]; asked {
		where = v.where(AnnotationSPIFFEID, "")
	} else {
		var err error
		if id, err = defaultID(r.trustDomain(), r.platform.Templates, r.Subject); err != nil {
			r.told.add("id")
			return []Mistake{{Where: where, What: err.Error()}}
		}
	}
	r.ID = id
	if id.IsZero() {
		return nil // a mistake that is told already
	}
	if err := Authorize(r.trustDomain(), r.platform.Claims, r.Subject, id); err != nil {
		return []Mistake{{Where: where, What: err.Error()}}
	}
	return nil
}

// claimMistakes are the DNS names and flags that the subject has no claim to.
func (r *reader) claimMistakes() []Mistake {
	var mistakes []Mistake
	check := func(key string, err error) {
		if err != nil {
			mistakes = append(mistakes, Mistake{Where: r.written[key].where(key, ""), What: err.Error()})
		}
	}
	for _, name := range r.DNSNames {
		check(AnnotationDNSNames, AuthorizeDNSName(r.platform.Claims, r.Subject, name))
	}
	if r.Downstream {
		check(AnnotationDownstream, AuthorizeFlag(r.platform.Claims, r.Subject, FlagDownstream))
	}
	if r.Admin {
		check(AnnotationAdmin, AuthorizeFlag(r.platform.Claims, r.Subject, FlagAdmin))
	}
	return mistakes
}

func (r *reader) parseMode(v string) []problem {
	mode, err := ParseMode(v)
	if r.modeUnclear = err != nil; err == nil {
		r.Mode = mode
	}
	return whole(err)
}

func (r *reader) parseSPIFFEID(v string) []problem {
	id, err := parseID(r.trustDomain(), v)
	r.askedID = id
	return whole(err)
}

func (r *reader) parseFederatesWith(v string) []problem {
	names := fields(v)
	if !r.count(boundTrustDomains, len(names)) {
		return nil
	}
	domains, errs := parseFederated(r.trustDomain(), names)
	r.FederatesWith = domains
	var problems []problem
	for _, err := range errs {
		problems = append(problems, problem{err: err})
	}
	return problems
}

// parseFederated reads the names of foreign trust domains.
func parseFederated(own spiffeid.TrustDomain, items []string) (domains []spiffeid.TrustDomain, errs []error) {
	for _, s := range items {
		td, err := parseTrustDomainName(s, "auxiliary.org")
		switch {
		case err != nil:
			errs = append(errs, err)
		case td.Name() != s:
			errs = append(
				errs,
				fmt.Errorf("expected a trust domain such as auxiliary.org, got %q; did you mean %q?", s, td.Name()),
			)
		case td == own:
			errs = append(errs, fmt.Errorf("expected foreign trust domains, got the own one, %q", s))
		case !slices.Contains(domains, td):
			domains = append(domains, td)
		}
	}
	if len(items) == 0 {
		errs = append(errs, errors.New("expected at least one trust domain, got an empty list"))
	}
	return domains, errs
}

// peerList parses peers; path leads to the list inside its annotation. It is never nil: an empty list is not one
// that is not written.
func (r *reader) peerList(path string, items []string) ([]ir.Peer, []problem) {
	peers := make([]ir.Peer, 0, len(items))
	known := make(map[ir.Peer]bool, len(items))
	var problems []problem
	for _, s := range items {
		peer, err := ir.ParsePeer(r.trustDomain(), r.FederatesWith, s)
		if err != nil {
			problems = append(problems, problem{path, fmt.Errorf("%w%s", err, afterSemicolon(r.federationHint(s)))})
			continue
		}
		if !known[peer] {
			peers = append(peers, peer)
		}
		known[peer] = true
	}
	return peers, problems
}

// federationHint tells how a peer of a foreign trust domain becomes possible.
func (r *reader) federationHint(peer string) string {
	id, err := spiffeid.FromString(strings.TrimSuffix(peer, "/*"))
	if err != nil || id.MemberOf(r.trustDomain()) || slices.Contains(r.FederatesWith, id.TrustDomain()) {
		return ""
	}
	return fmt.Sprintf("for peers of %s, write %s: %s", id.TrustDomain(), AnnotationFederatesWith, id.TrustDomain())
}

func (r *reader) parseX509SVIDTTL(v string) []problem {
	ttl, err := parseTTL(v)
	r.X509SVIDTTL = ttl
	return whole(err)
}

func (r *reader) parseJWTSVIDTTL(v string) []problem {
	ttl, err := parseTTL(v)
	r.JWTSVIDTTL = ttl
	return whole(err)
}

func (r *reader) parseDownstream(v string) (problems []problem) {
	r.Downstream, problems = parseBool(v)
	return problems
}

func (r *reader) parseAdmin(v string) (problems []problem) {
	r.Admin, problems = parseBool(v)
	return problems
}

func parseBool(v string) (bool, []problem) {
	switch v {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, whole(fmt.Errorf(`expected "true" or "false", got %q`, v))
}

func (r *reader) parseProxyImage(v string) []problem {
	r.Sidecar.Image = v
	return whole(checkImage(v))
}

func (r *reader) parseProxyLogLevel(v string) []problem {
	r.Sidecar.LogLevel = v
	return whole(checkLogLevel(v))
}

func (r *reader) parseProxyConcurrency(v string) []problem {
	n, err := strconv.Atoi(v)
	if err != nil {
		return whole(fmt.Errorf("expected 1 to %d worker threads, got %q", maxConcurrency, v))
	}
	r.Sidecar.Concurrency = n
	return whole(checkConcurrency(n))
}

// parseRefresh accepts everything short: what counts is that it changes.
func (r *reader) parseRefresh(v string) []problem {
	if len(v) > maxRefresh {
		return whole(fmt.Errorf("expected at most %d bytes, got %d", maxRefresh, len(v)))
	}
	return nil
}

func (r *reader) parseProxyResources(v string) []problem {
	var resources corev1.ResourceRequirements
	if err := r.decode(v, &resources); err != nil {
		return whole(fmt.Errorf("expected YAML such as {requests: {cpu: 100m, memory: 128Mi}}: %w", err))
	}
	r.Sidecar.Resources = resources
	return nil
}
