package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// everyoneBelow ends the spelling of a peer that stands for all IDs below its path.
const everyoneBelow = "/*"

// Peer says whose certificate is accepted: one SPIFFE ID, or every SPIFFE ID below a path.
// [ParsePeer] and [Everyone] make one; [Proxy.Validate] refuses the zero value.
type Peer struct {
	id     spiffeid.ID // with below: the path, or the bare trust domain
	prefix bool
}

// ParsePeer reads a peer of the trust domain td, or of one of those that td federates with:
//
//	/web                        the ID spiffe://td/web
//	spiffe://td/web             the same
//	/ns/prod/*                  every ID below /ns/prod, neither /ns/prod itself nor /ns/prodx
//	/*                          every ID of the trust domain
//	spiffe://federated/web      an ID of a federated domain, always written in full
//	spiffe://federated/*        every ID of it
//
// An error says what was expected, what came, and the nearest spelling that would be accepted.
func ParsePeer(td spiffeid.TrustDomain, federated []spiffeid.TrustDomain, s string) (Peer, error) {
	domains := append([]spiffeid.TrustDomain{td}, federated...)
	p, problem := parsePeer(domains, s)
	if problem == "" {
		return p, nil
	}
	if near, ok := nearestPeer(domains, s); ok {
		return Peer{}, fmt.Errorf("peer %q: %s; did you mean %q?", s, problem, near)
	}
	return Peer{}, fmt.Errorf("peer %q: %s", s, problem)
}

// Everyone is every SPIFFE ID of a trust domain.
func Everyone(td spiffeid.TrustDomain) Peer { return Peer{id: td.ID(), prefix: true} }

// String is the full spelling, which ParsePeer accepts again.
func (p Peer) String() string {
	if p.prefix {
		return p.id.String() + everyoneBelow
	}
	return p.id.String()
}

// TrustDomain is the trust domain that the peer belongs to.
func (p Peer) TrustDomain() spiffeid.TrustDomain { return p.id.TrustDomain() }

// IsPrefix says whether the peer stands for everything below a path instead of for one ID.
func (p Peer) IsPrefix() bool { return p.prefix }

// Matches says whether the peer covers id, by the rule that Envoy applies to the certificate.
func (p Peer) Matches(id spiffeid.ID) bool {
	if p.prefix {
		return !p.IsZero() && strings.HasPrefix(id.String(), p.URIPrefix())
	}
	return !p.IsZero() && id == p.id
}

// URIPrefix is what the URI of every covered ID begins with. It ends in a slash, so that a sibling
// whose name merely begins alike is not covered.
func (p Peer) URIPrefix() string { return p.id.String() + "/" }

// IsZero says whether nobody made the peer.
func (p Peer) IsZero() bool { return p.id.IsZero() }

// parsePeer is ParsePeer with the problem as a phrase; "" means none. The first domain is our own.
func parsePeer(domains []spiffeid.TrustDomain, s string) (Peer, string) {
	const want = `expected a path such as "/web", a full SPIFFE ID, or either followed by "/*"`
	if s == "" {
		return Peer{}, want + ", got nothing"
	}
	full := s
	if strings.HasPrefix(s, "/") {
		full = domains[0].IDString() + s
	}
	rest, ok := strings.CutPrefix(full, "spiffe://")
	if !ok {
		return Peer{}, want
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return Peer{}, fmt.Sprintf("a SPIFFE ID has no query and no fragment, got %q", rest[i:])
	}
	name, path, _ := strings.Cut(rest, "/")
	if i := strings.IndexAny(name, "@:"); i >= 0 {
		return Peer{}, fmt.Sprintf("a trust domain has no user and no port, got %q", name)
	}
	if _, ok := domainNamed(domains, func(known string) bool { return known == name }); !ok {
		return Peer{}, fmt.Sprintf("expected trust domain %s, got %q", oneOf(domains), name)
	}
	base, below := strings.CutSuffix(full, everyoneBelow)
	if strings.Contains(base, "*") {
		return Peer{}, `"*" is allowed only as the whole last segment`
	}
	if !below && path == "" {
		return Peer{}, `names the trust domain, expected a path below it ("/*" stands for all of them)`
	}
	id, err := spiffeid.FromString(base)
	if err != nil {
		return Peer{}, err.Error()
	}
	return Peer{id: id, prefix: below}, ""
}

// nearestPeer repairs the usual slips in s. What it proposes has been parsed; it never proposes
// another trust domain than the one that was written.
func nearestPeer(domains []spiffeid.TrustDomain, s string) (string, bool) {
	rest := s
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	domain, named := spiffeid.TrustDomain{}, false
	if _, after, ok := strings.Cut(rest, "://"); ok {
		var name string
		name, rest, _ = strings.Cut(after, "/")
		name = name[strings.LastIndex(name, "@")+1:]
		name, _, _ = strings.Cut(name, ":")
		domain, named = domainNamed(domains, func(known string) bool { return strings.EqualFold(known, name) })
		if !named && name != "" {
			return "", false
		}
	} else if first, after, ok := strings.Cut(rest, "/"); ok {
		if domain, named = domainNamed(domains, func(known string) bool { return strings.EqualFold(known, first) }); named {
			rest = after
		}
	}
	var path strings.Builder
	for segment := range strings.SplitSeq(strings.TrimSpace(rest), "/") {
		before, _, star := strings.Cut(segment, "*")
		if before != "" && before != "." && before != ".." {
			path.WriteString("/" + before)
		}
		if star {
			path.WriteString(everyoneBelow)
			break
		}
	}
	near := path.String()
	if named {
		near = domain.IDString() + near
	}
	_, problem := parsePeer(domains, near)
	return near, problem == "" && near != s
}

func domainNamed(domains []spiffeid.TrustDomain, is func(name string) bool) (spiffeid.TrustDomain, bool) {
	i := slices.IndexFunc(domains, func(td spiffeid.TrustDomain) bool { return is(td.Name()) })
	if i < 0 {
		return spiffeid.TrustDomain{}, false
	}
	return domains[i], true
}

// oneOf lists the domains for a message.
func oneOf(domains []spiffeid.TrustDomain) string {
	quoted := make([]string, len(domains))
	for i, td := range domains {
		quoted[i] = strconv.Quote(td.Name())
	}
	return strings.Join(quoted, " or ")
}

// OneTrustDomain returns the trust domain of all peers; false if there are none, or peers of several.
func OneTrustDomain(peers []Peer) (spiffeid.TrustDomain, bool) {
	if len(peers) == 0 {
		return spiffeid.TrustDomain{}, false
	}
	first := peers[0].TrustDomain()
	return first, !slices.ContainsFunc(peers, func(p Peer) bool { return p.TrustDomain() != first })
}
