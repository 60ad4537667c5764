package templates

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Quarantined identities are refused where a list would admit them. A handshake knows no "but not": IDs that are listed
// one by one are taken out of the list, and a prefix is written as what begins with it and is none of them (see
// [prefixWithout]). Requests know it, so at ports that check requests a prefix stays as it is in the handshake. In both
// cases the filter chain changes, and what is open ends as after any other change of its peers.

const (
	// quarantineKey is where a filter chain keeps a digest of whom it refuses, by which [QuarantineMarks] finds it.
	quarantineKey = "quarantined"
	// nobodysName is in no certificate, because it is no URI: a list that would be empty has it, which to Envoy would
	// admit everyone.
	nobodysName = "quarantined"
	anyID       = "spiffe://"
)

// acceptedInHandshake are the names that TLS accepts; none means everyone whom the bundles vouch for.
func acceptedInHandshake(peers, refused []ir.Peer, requestsAreChecked bool) []*tlsv3.SubjectAltNameMatcher {
	var names []*matcherv3.StringMatcher
	for _, peer := range peers {
		without := slices.DeleteFunc(slices.Clone(refused), func(r ir.Peer) bool { return !peer.Covers(r) })
		switch {
		case slices.ContainsFunc(refused, func(r ir.Peer) bool { return r.Covers(peer) }):
		case len(without) == 0 || requestsAreChecked:
			names = append(names, uriMatcher(peer))
		default:
			names = append(names, prefixWithout(peer.URIPrefix(), without)...)
		}
	}
	switch {
	case len(peers) == 0 && len(refused) > 0 && !requestsAreChecked:
		names = prefixWithout(anyID, refused)
	case len(peers) > 0 && len(names) == 0:
		names = []*matcherv3.StringMatcher{exactString(nobodysName)}
	}
	accepted := make([]*tlsv3.SubjectAltNameMatcher, len(names))
	for i, name := range names {
		accepted[i] = &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: name}
	}
	return accepted
}

// notRefused takes the refused ones out of who may call a port, whether a certificate or a token says who calls.
func notRefused(in ir.Inbound, who []*rbacv3.Principal) []*rbacv3.Principal {
	if len(in.Refused) == 0 || len(who) == 0 {
		return who
	}
	refused := principals(in.Refused)
	if !in.JWT.IsZero() {
		for _, subject := range in.Refused {
			refused = append(refused, tokenOf(subject))
		}
	}
	some := who[0]
	if len(who) > 1 {
		some = anyPrincipal(who)
	}
	return []*rbacv3.Principal{allPrincipals(some, noneOf(refused))}
}

// markRefused makes a change of whom a port refuses a change of its filter chains, which are then drained. In a gateway
// they serve the upstreams as well.
func (p envoy) markRefused(listener *listenerv3.Listener, in ir.Inbound) {
	refused := slices.Clone(in.Refused)
	if p.Gateway {
		refused = append(refused, p.refusedUpstreams(func(ir.Upstream) bool { return true })...)
	}
	for _, chain := range listener.FilterChains {
		readiness := len(chain.GetFilterChainMatch().GetSourcePrefixRanges()) > 0
		plain := chain.Name == plainChainName && in.JWT.IsZero() // where nobody says who calls
		if !readiness && !plain {
			chain.Metadata = withRefused(chain.Metadata, refused)
		}
	}
}

func (p envoy) refusedUpstreams(which func(ir.Upstream) bool) []ir.Peer {
	var out []ir.Peer
	for _, up := range p.Upstreams {
		if which(up) {
			out = append(out, up.Refused...)
		}
	}
	return out
}

// withRefused adds the mark to a chain's metadata.
func withRefused(metadata *corev3.Metadata, refused []ir.Peer) *corev3.Metadata {
	if len(refused) == 0 {
		return metadata
	}
	names := map[string]bool{}
	for _, peer := range refused {
		names[peer.String()] = true
	}
	if metadata == nil {
		metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	}
	ours := metadata.FilterMetadata[metadataNamespace]
	if ours == nil {
		ours = &structpb.Struct{Fields: map[string]*structpb.Value{}}
		metadata.FilterMetadata[metadataNamespace] = ours
	}
	ours.Fields[quarantineKey] = structpb.NewStringValue(digestOf(strings.Join(slices.Sorted(maps.Keys(names)), " ")))
	return metadata
}

// QuarantineMarks are the marks in the content of ListenersFile, by which whoever compares two of them knows whether one
// refuses other quarantined identities than the other. It is empty for what is no such content.
func QuarantineMarks(listeners string) string {
	if !strings.Contains(listeners, quarantineKey) {
		return ""
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(listeners), &document); err != nil {
		return ""
	}
	budget := maxVisits
	return strings.Join(quarantineMarks(&document, &budget), " ")
}

// maxVisits is beyond what any generated file has, and bounds the work for aliases of aliases that somebody else wrote.
const maxVisits = 1_000_000

func quarantineMarks(n *yaml.Node, budget *int) []string {
	var marks []string
	for i, child := range n.Content {
		if *budget--; *budget < 0 {
			return marks
		}
		child = unaliased(child)
		if n.Kind == yaml.MappingNode && i%2 == 1 && unaliased(n.Content[i-1]).Value == quarantineKey {
			marks = append(marks, child.Value)
		} else {
			marks = append(marks, quarantineMarks(child, budget)...)
		}
	}
	return marks
}

func unaliased(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

const (
	// maxProgram is how large Envoy lets the program of a pattern become, by default 100; what the parts of a pattern
	// cost is measured, and rounded up.
	maxProgram   = 95
	literalCost  = 1
	choiceCost   = 8
	anyIDByte    = "[!-~]" // all that may be in a URI
	firstIDByte  = '!'
	lastIDByte   = '~'
	longestChain = maxProgram - 2*choiceCost // literal bytes that leave room for one choice
)

// prefixWithout are patterns that together match what begins with a prefix and is not refused. A pattern is bounded, so
// long names take several. Names that agree with a refused one in more bytes than a pattern has room for cannot be told
// from it, and are refused as well.
func prefixWithout(prefix string, refused []ir.Peer) []*matcherv3.StringMatcher {
	root := &nameTree{}
	for _, peer := range refused {
		if peer.IsPrefix() {
			root.add(strings.TrimPrefix(peer.URIPrefix(), prefix), true)
		} else {
			root.add(strings.TrimPrefix(peer.String(), prefix), false)
		}
	}
	var out []*matcherv3.StringMatcher
	type start struct {
		path string
		tree *nameTree
	}
	for queue := []start{{prefix, root}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if len(at.path) > longestChain {
			continue
		}
		room := maxProgram - len(at.path)*literalCost
		pattern := at.tree.pattern(at.path, &room, func(path string, tree *nameTree) {
			queue = append(queue, start{path, tree})
		})
		out = append(out, patternMatcher(literal(at.path)+pattern))
	}
	return out
}

// nameTree has refused names by their bytes.
type nameTree struct {
	name  bool // the name that ends here is refused
	below bool // and so is all that begins with it
	next  map[byte]*nameTree
}

func (t *nameTree) add(name string, below bool) {
	switch {
	case name == "" && below:
		t.below = true
	case name == "":
		t.name = true
	default:
		if t.next == nil {
			t.next = map[byte]*nameTree{}
		}
		if t.next[name[0]] == nil {
			t.next[name[0]] = &nameTree{}
		}
		t.next[name[0]].add(name[1:], below)
	}
}

// pattern matches the rest of all names that are not in the tree, which begins after a path. What there is no room for
// goes to later.
func (t *nameTree) pattern(path string, room *int, later func(path string, tree *nameTree)) string {
	known := slices.Sorted(maps.Keys(t.next))
	*room -= choiceCost + 2*literalCost*len(known)
	choices := []string{otherThan(known) + anyIDByte + "*"}
	for _, b := range known {
		tree, longer := t.next[b], path+string(b)
		switch {
		case tree.below:
		case *room < choiceCost+2*literalCost*(1+len(tree.next)):
			later(longer, tree)
		default:
			choices = append(choices, literal(string(b))+tree.pattern(longer, room, later))
		}
	}
	optional := "?"
	if t.name {
		optional = ""
	}
	return "(?:" + strings.Join(choices, "|") + ")" + optional
}

// otherThan is a class of all bytes but some, which are sorted.
func otherThan(bytes []byte) string {
	if len(bytes) == 0 {
		return anyIDByte
	}
	var out strings.Builder
	from := byte(firstIDByte)
	part := func(to byte) {
		if from <= to {
			fmt.Fprintf(&out, "%s-%s", inClass(from), inClass(to))
		}
	}
	for _, b := range bytes {
		part(b - 1)
		from = b + 1
	}
	part(lastIDByte)
	return "[" + out.String() + "]"
}

func inClass(b byte) string {
	if strings.IndexByte(`]\^-`, b) >= 0 {
		return `\` + string(b)
	}
	return string(b)
}

// literal is a part of a SPIFFE ID as a pattern: of what can be in one, only the dot means something else.
func literal(s string) string { return strings.ReplaceAll(s, ".", `\.`) }
