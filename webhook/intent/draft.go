package intent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxRefresh bounds the value of [AnnotationRefresh].
const maxRefresh = 64

// draft collects the parsed annotations of one pod. Its parse methods are the parsers of the table.
type draft struct {
	platform Platform

	mode        Mode
	modeUnclear bool        // it was not understood: what depends on it is not told
	id          spiffeid.ID // zero when not asked for
	federated   []spiffeid.TrustDomain
	peers       []ir.Peer // allowed-peers
	inbound     []ir.Inbound
	upstreams   []ir.Upstream
	audit       bool
	x509SVIDTTL time.Duration
	jwtSVIDTTL  time.Duration
	dnsNames    []string
	downstream  bool
	admin       bool
	sidecar     Sidecar

	certificateSecret string // whose certificate inbound listeners show; empty if none does

	// defaultPeers says of each inbound listener whether its peers are those of allowed-peers, which is read later.
	defaultPeers []bool
}

func newDraft(p Platform) draft {
	return draft{platform: p, mode: ModeSidecar, federated: p.FederatesWith, peers: p.AllowedPeers,
		x509SVIDTTL: p.X509SVIDTTL, jwtSVIDTTL: p.JWTSVIDTTL, sidecar: p.Sidecar}
}

func (d *draft) trustDomain() spiffeid.TrustDomain { return d.platform.Cluster.TrustDomain }

// listeners are the inbound listeners, complete.
func (d *draft) listeners() []ir.Inbound {
	out := slices.Clone(d.inbound)
	for i := range out {
		if d.defaultPeers[i] {
			out[i].Peers = d.peers
		}
		out[i].Audit = d.audit && out[i].ChecksRequests()
	}
	return out
}

// identity is the ID asked for, or that of the platform's first template that applies.
func (d *draft) identity(s Subject, written map[string]value) (spiffeid.ID, []Mistake) {
	id, where := d.id, "identity, from the platform's identity.templates"
	if v, asked := written[AnnotationSPIFFEID]; asked {
		where = v.where(AnnotationSPIFFEID, "")
	} else {
		var err error
		if id, err = defaultID(d.trustDomain(), d.platform.Templates, s); err != nil {
			return id, []Mistake{{Where: where, What: err.Error()}}
		}
	}
	if id.IsZero() {
		return id, nil // a mistake that is told already
	}
	if err := Authorize(d.trustDomain(), d.platform.Claims, s, id); err != nil {
		return id, []Mistake{{Where: where, What: err.Error()}}
	}
	return id, nil
}

// claimMistakes are the DNS names and flags that the subject has no claim to.
func (d *draft) claimMistakes(in Intent, written map[string]value) []Mistake {
	var mistakes []Mistake
	check := func(key string, err error) {
		if err != nil {
			mistakes = append(mistakes, Mistake{Where: written[key].where(key, ""), What: err.Error()})
		}
	}
	for _, name := range in.DNSNames {
		check(AnnotationDNSNames, AuthorizeDNSName(d.platform.Claims, in.Subject, name))
	}
	if in.Downstream {
		check(AnnotationDownstream, AuthorizeFlag(d.platform.Claims, in.Subject, FlagDownstream))
	}
	if in.Admin {
		check(AnnotationAdmin, AuthorizeFlag(d.platform.Claims, in.Subject, FlagAdmin))
	}
	return mistakes
}

func (d *draft) parseMode(v string) []problem {
	mode, err := ParseMode(v)
	if d.modeUnclear = err != nil; err == nil {
		d.mode = mode
	}
	return whole(err)
}

func (d *draft) parseSPIFFEID(v string) []problem {
	id, err := parseID(d.trustDomain(), v)
	d.id = id
	return whole(err)
}

func (d *draft) parseFederatesWith(v string) []problem {
	domains, errs := parseFederated(d.trustDomain(), fields(v))
	d.federated = domains
	var problems []problem
	for _, err := range errs {
		problems = append(problems, problem{err: err})
	}
	return problems
}

// parseFederated reads the names of foreign trust domains.
func parseFederated(own spiffeid.TrustDomain, items []string) (domains []spiffeid.TrustDomain, errs []error) {
	for _, s := range items {
		td, err := spiffeid.TrustDomainFromString(s)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("expected a trust domain such as auxiliary.org, got %q: %w", s, err))
		case td.Name() != s:
			errs = append(errs, fmt.Errorf("expected a trust domain such as auxiliary.org, got %q; did you mean %q?", s, td.Name()))
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

// peerList parses peers; path leads to the list inside its annotation.
func (d *draft) peerList(path string, items []string) ([]ir.Peer, []problem) {
	if len(items) == 0 {
		return nil, []problem{{path, errors.New("expected at least one peer, got an empty list")}}
	}
	var peers []ir.Peer
	var problems []problem
	for _, s := range items {
		peer, err := ir.ParsePeer(d.trustDomain(), d.federated, s)
		if err != nil {
			problems = append(problems, problem{path, fmt.Errorf("%w%s", err, afterSemicolon(d.federationHint(s)))})
			continue
		}
		if !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	return peers, problems
}

// federationHint tells how a peer of a foreign trust domain becomes possible.
func (d *draft) federationHint(peer string) string {
	id, err := spiffeid.FromString(strings.TrimSuffix(peer, "/*"))
	if err != nil || id.MemberOf(d.trustDomain()) || slices.Contains(d.federated, id.TrustDomain()) {
		return ""
	}
	return fmt.Sprintf("for peers of %s, write %s: %s", id.TrustDomain(), AnnotationFederatesWith, id.TrustDomain())
}

func (d *draft) parseX509SVIDTTL(v string) []problem {
	ttl, err := parseTTL(v)
	d.x509SVIDTTL = ttl
	return whole(err)
}

func (d *draft) parseJWTSVIDTTL(v string) []problem {
	ttl, err := parseTTL(v)
	d.jwtSVIDTTL = ttl
	return whole(err)
}

func (d *draft) parseDNSNames(v string) []problem {
	var problems []problem
	for _, name := range fields(v) {
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
			problems = append(problems, problem{err: fmt.Errorf("expected a DNS name such as api.example.org, got %q: %s", name, strings.Join(errs, "; "))})
			continue
		}
		if !slices.Contains(d.dnsNames, name) {
			d.dnsNames = append(d.dnsNames, name)
		}
	}
	if len(fields(v)) == 0 {
		return whole(errors.New("expected at least one DNS name, got an empty list"))
	}
	return problems
}

func (d *draft) parseDownstream(v string) (problems []problem) {
	d.downstream, problems = parseBool(v)
	return problems
}

func (d *draft) parseAdmin(v string) (problems []problem) {
	d.admin, problems = parseBool(v)
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

func (d *draft) parseProxyImage(v string) []problem {
	d.sidecar.Image = v
	if v == "" || strings.TrimSpace(v) != v {
		return whole(fmt.Errorf("expected an image, got %q", v))
	}
	return nil
}

func (d *draft) parseProxyLogLevel(v string) []problem {
	d.sidecar.LogLevel = v
	return whole(checkLogLevel(v))
}

func (d *draft) parseProxyConcurrency(v string) []problem {
	n, err := strconv.Atoi(v)
	if err != nil {
		return whole(fmt.Errorf("expected 1 to %d worker threads, got %q", maxConcurrency, v))
	}
	d.sidecar.Concurrency = n
	return whole(checkConcurrency(n))
}

// parseRefresh accepts everything short: what counts is that it changes.
func (d *draft) parseRefresh(v string) []problem {
	if len(v) > maxRefresh {
		return whole(fmt.Errorf("expected at most %d bytes, got %d", maxRefresh, len(v)))
	}
	return nil
}

func (d *draft) parseProxyResources(v string) []problem {
	resources, err := parseResources([]byte(v))
	if err != nil {
		return whole(fmt.Errorf("expected YAML such as {requests: {cpu: 100m, memory: 128Mi}}: %w", err))
	}
	d.sidecar.Resources = resources
	return nil
}
