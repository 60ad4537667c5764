package registrar

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// EndpointProfile is how the server of a foreign bundle is authenticated.
type EndpointProfile string

// The profiles of the SPIFFE Federation standard.
const (
	// HTTPSWeb: by a certificate of the public web.
	HTTPSWeb EndpointProfile = "https_web"
	// HTTPSSPIFFE: by an SVID with [Relationship.EndpointSPIFFEID]. If that ID is one of the foreign trust domain
	// itself, SPIRE can fetch no bundle before it has been given one (`spire-server bundle set`).
	HTTPSSPIFFE EndpointProfile = "https_spiffe"
)

// Relationship tells SPIRE where to fetch the bundle of a foreign trust domain. There is at most one for each domain.
type Relationship struct {
	TrustDomain spiffeid.TrustDomain
	// BundleEndpointURL has the scheme https, a host, and no user.
	BundleEndpointURL string
	Profile           EndpointProfile
	// EndpointSPIFFEID is who serves the bundle under [HTTPSSPIFFE]; zero otherwise.
	EndpointSPIFFEID spiffeid.ID
}

// Canonical returns the relationship as SPIRE returns it: two mean the same when their canonical forms are equal.
func (r Relationship) Canonical() Relationship {
	if u, err := url.Parse(r.BundleEndpointURL); err == nil {
		r.BundleEndpointURL = u.String()
	}
	if r.Profile != HTTPSSPIFFE {
		r.EndpointSPIFFEID = spiffeid.ID{}
	}
	return r
}

// Validate returns every reason for which SPIRE would refuse the relationship, or nil. That the trust domain is not
// SPIRE's own is for the caller to know.
func (r Relationship) Validate() error {
	var errs []error
	if r.TrustDomain.IsZero() {
		errs = append(errs, errors.New("no trust domain"))
	}
	if err := CheckBundleEndpoint(r.BundleEndpointURL); err != nil {
		errs = append(errs, fmt.Errorf("bundle endpoint %q: %w", r.BundleEndpointURL, err))
	}
	switch r.Profile {
	case HTTPSWeb:
	case HTTPSSPIFFE:
		if r.EndpointSPIFFEID.IsZero() {
			errs = append(
				errs,
				fmt.Errorf(
					"profile %s: no SPIFFE ID of the bundle endpoint: expected that of its server, as in spiffe://auxiliary.org/spire/server",
					r.Profile,
				),
			)
		}
	default:
		errs = append(
			errs,
			fmt.Errorf("profile %q of the bundle endpoint: expected %s or %s", r.Profile, HTTPSWeb, HTTPSSPIFFE),
		)
	}
	return errors.Join(errs...)
}

// CheckBundleEndpoint says why SPIRE would not fetch a bundle from the URL, or nil.
func CheckBundleEndpoint(endpoint string) error {
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("expected an https URL with a host and without a user, as in https://spire.auxiliary.org:8443")
	}
	return nil
}

// Federated is a foreign trust domain whose relationship is kept and whose bundle is fetched again and again.
type Federated struct {
	Relationship
	// Refresh is the time between two fetches; it is more than 0.
	Refresh time.Duration
}

// PlanFederation returns what has to be created and what has to be updated so that SPIRE has the wanted relationships,
// in their order. Others are left alone. Of two that are wanted for one trust domain the first counts.
func PlanFederation(wanted, current []Relationship) (create, update []Relationship) {
	have := map[spiffeid.TrustDomain]Relationship{}
	for _, r := range current {
		have[r.TrustDomain] = r.Canonical()
	}
	seen := map[spiffeid.TrustDomain]bool{}
	for _, r := range wanted {
		r = r.Canonical()
		if seen[r.TrustDomain] {
			continue
		}
		seen[r.TrustDomain] = true
		switch there, ok := have[r.TrustDomain]; {
		case !ok:
			create = append(create, r)
		case there != r:
			update = append(update, r)
		}
	}
	return create, update
}

// PlannedFederation returns those of the current relationships that are just as wanted, and how many others there are
// with a wanted trust domain. SPIRE does not say who made a relationship: only these can be the work of whoever wants them so.
func PlannedFederation(wanted, current []Relationship) (same []Relationship, others int) {
	want := map[spiffeid.TrustDomain]Relationship{}
	for _, r := range slices.Backward(wanted) { // the first counts
		want[r.TrustDomain] = r.Canonical()
	}
	for _, r := range current {
		switch w, is := want[r.TrustDomain]; {
		case !is:
		case w == r.Canonical():
			same = append(same, r)
		default:
			others++
		}
	}
	return same, others
}

// Bundle is what SPIRE holds of a foreign trust domain's bundle, without its keys.
type Bundle struct {
	TrustDomain spiffeid.TrustDomain
	// SequenceNumber grows with each change of the bundle; it is 0 for a source that does not count, and for all that
	// SPIRE (1.15) has fetched itself.
	SequenceNumber uint64
	// Keys is a digest of its authorities: equal for two bundles that verify the same.
	Keys string
	// RefreshHint is how often its trust domain wants it fetched; zero says nothing, and then SPIRE waits for a
	// fraction of the TTL of its authorities, which may be months.
	RefreshHint time.Duration
}

// ErrNoBundle is wrapped by what a [BundleReader] returns when SPIRE has no bundle of the trust domain.
var ErrNoBundle = errors.New("SPIRE has no bundle of this trust domain")

// ErrNoRelationship is wrapped by what a [BundleRefresher] returns when SPIRE does not know where to fetch the bundle.
var ErrNoRelationship = errors.New("SPIRE has no federation relationship with this trust domain")

// RelationshipLister knows SPIRE's federation relationships.
type RelationshipLister interface {
	// ListFederationRelationships returns all that are in SPIRE's database, which those in the server's own
	// configuration file are not; the error is an [Error].
	ListFederationRelationships(ctx context.Context) ([]Relationship, error)
}

// RelationshipWriter makes and changes federation relationships, each on its own; the results are in the same order and
// as many, nil or an [Error]. An error means that SPIRE did not answer about any of them; it is an [Error].
type RelationshipWriter interface {
	// CreateFederationRelationships fails for a trust domain that has one; SPIRE gives that no kind of its own.
	CreateFederationRelationships(ctx context.Context, relationships []Relationship) ([]error, error)
	// UpdateFederationRelationships sets endpoint and profile, and fails for a trust domain that has none.
	UpdateFederationRelationships(ctx context.Context, relationships []Relationship) ([]error, error)
}

// RelationshipDeleter removes federation relationships. Bundles that SPIRE has got by them stay.
type RelationshipDeleter interface {
	// DeleteFederationRelationships removes each on its own; the results are in the same order and as many, nil or an
	// [Error]. One that is not there is removed. An error means that SPIRE did not answer about any of them.
	DeleteFederationRelationships(ctx context.Context, tds []spiffeid.TrustDomain) ([]error, error)
}

// BundleRefresher has SPIRE fetch a bundle.
type BundleRefresher interface {
	// RefreshBundle returns when SPIRE has fetched the trust domain's bundle from its endpoint. The error is an
	// [Error], or wraps [ErrNoRelationship].
	RefreshBundle(ctx context.Context, td spiffeid.TrustDomain) error
}

// BundleReader reads foreign bundles.
type BundleReader interface {
	// FederatedBundle returns what SPIRE holds. The error is an [Error], or wraps [ErrNoBundle].
	FederatedBundle(ctx context.Context, td spiffeid.TrustDomain) (Bundle, error)
}
