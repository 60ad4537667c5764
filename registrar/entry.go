package registrar

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxEntryID is SPIRE's limit, in characters.
const maxEntryID = 255

// Entry is a SPIRE registration entry, without the revision, which SPIRE alone counts.
type Entry struct {
	ID       string
	SPIFFEID spiffeid.ID
	ParentID spiffeid.ID
	// Selectors must all match.
	Selectors []Selector
	Attributes
	Hint string
	// StoreSVID hands the SVID to a store plugin of the agent and withholds it from the Workload API.
	StoreSVID bool
	// ExpiresAt is when SPIRE prunes the entry, to the second; zero is never.
	ExpiresAt time.Time
	// CreatedAt is when SPIRE created it, to the second; zero if that is not known. It is not compared.
	CreatedAt time.Time
}

// Canonical returns the entry with its lists sorted and without duplicates, empty ones nil: two entries mean the
// same when their canonical forms are equal, and SPIRE answers a duplicate selector or DNS name in one request with
// a misleading ALREADY_EXISTS. Lists that are as they should be are shared with the entry: nobody changes them in place.
func (e Entry) Canonical() Entry {
	e.Selectors = sortedSet(e.Selectors, Selector.compare)
	e.Attributes = e.canonical()
	if !e.ExpiresAt.IsZero() {
		e.ExpiresAt = time.Unix(e.ExpiresAt.Unix(), 0).UTC()
	}
	return e
}

// Narrow returns the entry, in its canonical form, without the foreign trust domains that the function does not know,
// and those, sorted: SPIRE takes no entry that federates with a domain that it has no bundle of.
func (e Entry) Narrow(hasBundle func(spiffeid.TrustDomain) bool) (narrowed Entry, missing []spiffeid.TrustDomain) {
	e = e.Canonical()
	var kept []spiffeid.TrustDomain
	for _, td := range e.FederatesWith {
		if hasBundle(td) {
			kept = append(kept, td)
		} else {
			missing = append(missing, td)
		}
	}
	e.FederatesWith = kept
	return e, missing
}

// Validate returns every reason for which SPIRE would refuse the entry, or nil.
func (e Entry) Validate() error {
	var errs []error
	if e.ID == "" || len(e.ID) > maxEntryID || !isEntryID(e.ID) {
		errs = append(errs, fmt.Errorf("entry ID %q: expected 1 to %d of the characters A-Z a-z 0-9 . _ -", e.ID, maxEntryID))
	}
	if e.ParentID.IsZero() || e.ParentID.Path() == "" {
		errs = append(errs, fmt.Errorf("parent ID %q: expected a SPIFFE ID with a path", e.ParentID))
	}
	if e.SPIFFEID.Path() == "" {
		errs = append(errs, fmt.Errorf("SPIFFE ID %q: expected one with a path", e.SPIFFEID))
	}
	if len(e.Selectors) == 0 {
		errs = append(errs, errors.New("no selectors: expected at least one"))
	}
	for _, s := range e.Selectors {
		if err := s.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, validateTTL("X.509-SVID", e.X509SVIDTTL), validateTTL("JWT-SVID", e.JWTSVIDTTL))
	return errors.Join(errs...)
}

func validateTTL(of string, ttl time.Duration) error {
	const longest = math.MaxInt32 * time.Second
	if ttl < 0 || ttl > longest || ttl%time.Second != 0 {
		return fmt.Errorf("%s TTL %v: expected whole seconds, at least 1s, or 0 for the SPIRE server's default", of, ttl)
	}
	return nil
}

// Selector is one condition of an entry, as in `k8s:ns:default`, where the type is k8s and the value ns:default.
type Selector struct {
	Type  string
	Value string
}

// ParseSelector reads the form type:value; the value may itself hold colons.
func ParseSelector(s string) (Selector, error) {
	kind, value, _ := strings.Cut(s, ":")
	sel := Selector{Type: kind, Value: value}
	if err := sel.validate(); err != nil {
		return Selector{}, err
	}
	return sel, nil
}

func (s Selector) String() string { return s.Type + ":" + s.Value }

func (s Selector) compare(o Selector) int {
	return cmp.Or(strings.Compare(s.Type, o.Type), strings.Compare(s.Value, o.Value))
}

func (s Selector) validate() error {
	if s.Type == "" || s.Value == "" || strings.Contains(s.Type, ":") {
		return fmt.Errorf("selector %q: expected type:value, for example k8s_psat:cluster:demo-cluster", s)
	}
	return nil
}

func isEntryID(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// sortedSet leaves its argument alone and never returns an empty slice. What is a sorted set already is returned as it
// is: of most entries that is asked again and again.
func sortedSet[T comparable](s []T, compare func(T, T) int) []T {
	isSet := true
	for i := 1; i < len(s) && isSet; i++ {
		isSet = compare(s[i-1], s[i]) < 0
	}
	switch {
	case len(s) == 0:
		return nil
	case isSet:
		return slices.Clip(s)
	}
	sorted := slices.Clone(s)
	slices.SortFunc(sorted, compare)
	return slices.Compact(sorted)
}
