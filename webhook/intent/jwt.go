package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// inboundJWT is jwt of an item of the inbound annotation as it is written.
type inboundJWT struct {
	Audiences *[]string `json:"audiences"` // nil means the pod's own SPIFFE ID
	Subjects  []string  `json:"subjects"`
}

// upstreamJWT is jwt of an item of the upstreams annotation as it is written.
type upstreamJWT struct {
	Audience *string `json:"audience"` // nil means the one peer
}

// decodeObject reads a field of an item, which is there. What says nothing is not taken for one that is not there:
// somebody means requests to have tokens.
func decodeObject(written json.RawMessage, example string, into any) error {
	if string(written) == "null" {
		return fmt.Errorf("expected an object such as %s, got nothing", example)
	}
	if err := decodeStrictly(written, into); err != nil {
		return fmt.Errorf("expected an object such as %s: %w", example, err)
	}
	return nil
}

// readInboundJWT reads what tokens a listener asks for. Own says that they are for the pod's own SPIFFE ID, which is
// read later.
func (r *reader) readInboundJWT(f *fieldErrors, written json.RawMessage, in *ir.Inbound) (own bool) {
	if written == nil {
		return false
	}
	var item inboundJWT
	if err := decodeObject(written, "{audiences: [/api], subjects: [/web]}", &item); err != nil {
		f.add(".jwt", err)
		return false
	}
	listed := len(item.Subjects)
	if item.Audiences != nil {
		listed += len(*item.Audiences)
	}
	r.count(boundCallers, listed)
	if !r.count(boundPeers, listed) {
		return false
	}
	in.JWT.Subjects = r.peersOf(f, ".jwt.subjects", item.Subjects)
	if item.Audiences == nil {
		return true
	}
	in.JWT.Audiences = []string{} // also where the list is empty, which is not one that is not written
	for _, s := range *item.Audiences {
		audience, err := ir.ParseAudience(r.trustDomain(), s)
		f.add(".jwt.audiences", err)
		if err == nil && !slices.Contains(in.JWT.Audiences, audience) {
			in.JWT.Audiences = append(in.JWT.Audiences, audience)
		}
	}
	return false
}

// readUpstreamJWT reads for whom the tokens of an upstream are; empty is for none.
func (r *reader) readUpstreamJWT(f *fieldErrors, written json.RawMessage, up ir.Upstream) string {
	if written == nil {
		return ""
	}
	var item upstreamJWT
	if err := decodeObject(written, "{audience: /api}", &item); err != nil {
		f.add(".jwt", err)
		return ""
	}
	if item.Audience != nil {
		audience, err := ir.ParseAudience(r.trustDomain(), *item.Audience)
		f.add(".jwt.audience", err)
		return audience
	}
	if len(up.Peers) != 1 || up.Peers[0].IsPrefix() {
		f.add(".jwt.audience", errors.New(
			"expected for whom the tokens are, such as /api, got nothing; only where peers is one ID it is the default"))
		return ""
	}
	return up.Peers[0].String()
}

// Tokens says whether the pod asks for tokens, or sends some.
func (in Intent) Tokens() bool { return in.Mode.Envoy() && in.Proxy.HasTokens() }

// Audiences are those for which upstreams get tokens, in order.
func (in Intent) Audiences() []string {
	var out []string
	for _, up := range in.Proxy.Upstreams {
		if up.JWTAudience != "" {
			out = append(out, up.JWTAudience)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
