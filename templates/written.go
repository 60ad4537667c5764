package templates

import (
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
)

// Apps believe what stands in a header that Envoy writes. Many servers make variables of header names, as CGI does
// (RFC 3875, section 4.1.18): HTTP_X_FORWARDED_CLIENT_CERT is the header with underscores as well, to some servers with
// any other sign in the place of a hyphen. Envoy compares names as they are, so what callers write in such a spelling
// would reach the app beside what Envoy writes, or in its place.

// writtenHeader is the name, in lower case, of a header that Envoy writes into requests to the app.
type writtenHeader struct {
	name string
	// exact says that callers may not write the name itself either. That of the others is taken care of where it is
	// written, or may come from callers.
	exact bool
}

// allBegin is what all of them begin with. Each name of each request is compared: one that a pattern says it begins with,
// after ^, is compared before the pattern is searched, which costs a hundred times as much, and few headers begin so.
const allBegin = "x"

// writtenHeaders are all of them. What shares a line shares a pattern, and Envoy takes none of more than 100
// instructions.
var writtenHeaders = [][]writtenHeader{
	{{name: xfccHeader}, {name: JWTSubjectHeader, exact: true}},
	{{name: "x-forwarded-for"}, {name: forwardedProtoHeader}, {name: "x-request-id"}},
}

// IsWritten says whether Envoy may write this header into requests to the app, so that callers may not write it in
// another spelling. The name is in lower case.
func IsWritten(name string) bool {
	return slices.ContainsFunc(slices.Concat(writtenHeaders...), func(h writtenHeader) bool { return h.name == name })
}

// notWritten takes from a caller's request whatever an app may take for one of [writtenHeaders]. It is the first that
// happens to a request.
func notWritten() []*corev3.TypedExtensionConfig {
	removal := &earlyv3.HeaderMutation{}
	for _, headers := range writtenHeaders {
		var names []string
		for _, header := range headers {
			names = append(names, strings.TrimPrefix(header.spellings(), allBegin))
		}
		removal.Mutations = append(removal.Mutations, removalOf("^"+allBegin+"("+strings.Join(names, "|")+")"))
	}
	return []*corev3.TypedExtensionConfig{{Name: "not_written", TypedConfig: pack(removal)}}
}

// notWrittenTrailers does the same to trailers, which some servers merge into the headers. Envoy writes none, so callers
// may write none in any spelling, nor with the name itself.
func notWrittenTrailers() *hcmv3.HttpFilter {
	var names []string
	for _, header := range slices.Concat(writtenHeaders...) {
		names = append(names, header.allSpellings())
	}
	slices.Sort(names) // what begins alike is written once in the pattern that Envoy makes of them
	return withoutTrailers(strings.Join(names, "|"))
}

// noTrailers is for the kubelet, which sends none.
func noTrailers() *hcmv3.HttpFilter { return withoutTrailers(".+") }

func withoutTrailers(names string) *hcmv3.HttpFilter {
	return httpFilter("trailers", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestTrailersMutations: []*mutationv3.HeaderMutation{removalOf(names)},
	}})
}

// removalOf takes from a request what has a name of this pattern.
func removalOf(names string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{
		Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: patternMatcher(names),
		}},
	}
}

const (
	// anySign is what stands in the place of a hyphen, or is one. That letters would do as well keeps the pattern small,
	// and no other header is so near.
	anySign = "[!-~]"
	// otherSign is the same without the hyphen.
	otherSign = "[!-,.-~]"
)

// spellings matches the names, as a whole, that stand for a header, without its own name unless that is exact.
func (h writtenHeader) spellings() string {
	if h.exact {
		return h.allSpellings()
	}
	return otherSpellings(strings.Split(h.name, "-"))
}

// allSpellings are those and its own name.
func (h writtenHeader) allSpellings() string { return strings.ReplaceAll(h.name, "-", anySign) }

// otherSpellings have at least one other sign than a hyphen.
func otherSpellings(words []string) string {
	first, rest := words[0], words[1:]
	if len(rest) == 1 {
		return first + otherSign + rest[0]
	}
	return first + "(" + otherSign + strings.Join(rest, anySign) + "|-" + otherSpellings(rest) + ")"
}
