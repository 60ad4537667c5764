package registrar

import (
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Attributes are what is asked for beside an identity.
type Attributes struct {
	// X509SVIDTTL and JWTSVIDTTL are the TTLs of SVIDs, in whole seconds; zero is the SPIRE server's default.
	X509SVIDTTL time.Duration
	JWTSVIDTTL  time.Duration
	// FederatesWith are the foreign trust domains whose bundles the workload gets; SPIRE must already have them.
	FederatesWith []spiffeid.TrustDomain
	DNSNames      []string // of the X.509-SVID
	// Downstream lets the workload run a nested SPIRE server, Admin lets it use SPIRE's management API.
	Downstream bool
	Admin      bool
}

// canonical sorts the lists and drops duplicates; empty ones are nil.
func (a Attributes) canonical() Attributes {
	a.FederatesWith = sortedSet(a.FederatesWith, spiffeid.TrustDomain.Compare)
	a.DNSNames = sortedSet(a.DNSNames, strings.Compare)
	return a
}

// converge is what serves both who ask for a and who ask for b: the shortest TTLs that are set, all DNS names and
// federated trust domains, the lesser authority (a flag stands only if both ask for it).
func (a Attributes) converge(b Attributes) Attributes {
	return Attributes{
		X509SVIDTTL:   shortestTTL(a.X509SVIDTTL, b.X509SVIDTTL),
		JWTSVIDTTL:    shortestTTL(a.JWTSVIDTTL, b.JWTSVIDTTL),
		FederatesWith: slices.Concat(a.FederatesWith, b.FederatesWith),
		DNSNames:      slices.Concat(a.DNSNames, b.DNSNames),
		Downstream:    a.Downstream && b.Downstream,
		Admin:         a.Admin && b.Admin,
	}.canonical()
}

func shortestTTL(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
