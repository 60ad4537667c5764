package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

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

// decodeJWT reads jwt of an item, which is there. What says nothing is not taken for one that is not there: somebody means
// requests to have tokens.
func decodeJWT(written json.RawMessage, example string, into any) error {
	if string(written) == "null" {
		return fmt.Errorf("expected an object such as %s, got nothing", example)
	}
	if err := decodeStrictly(written, into); err != nil {
		return fmt.Errorf("expected an object such as %s: %w", example, err)
	}
	return nil
}

var errTokensInTCP = errors.New("tokens are for requests, expected protocol http, http2 or grpc, got tcp: remove jwt")

// inboundJWT reads what tokens an inbound listener asks for. Without audiences they are those of [withAudiences].
func (d *draft) inboundJWT(path string, written json.RawMessage, protocol ir.Protocol) (ir.JWT, []problem) {
	var out ir.JWT
	if written == nil {
		return out, nil
	}
	var item inboundJWT
	if err := decodeJWT(written, "{audiences: [/api], subjects: [/web]}", &item); err != nil {
		return out, []problem{{path, err}}
	}
	var problems []problem
	if protocol == ir.TCP {
		problems = append(problems, problem{path, errTokensInTCP})
	}
	if item.Audiences != nil {
		if len(*item.Audiences) == 0 {
			problems = append(problems, problem{path + ".audiences", errors.New("expected at least one audience, got an empty list; without audiences it is the pod's own SPIFFE ID")})
		}
		for _, s := range *item.Audiences {
			audience, err := d.audience(s)
			if err != nil {
				problems = append(problems, problem{path + ".audiences", err})
			} else if !slices.Contains(out.Audiences, audience) {
				out.Audiences = append(out.Audiences, audience)
			}
		}
	}
	if len(item.Subjects) == 0 {
		return out, append(problems, problem{path + ".subjects", errors.New(`expected at least one subject that may call, got none; "/*" stands for the whole trust domain`)})
	}
	var inSubjects []problem
	out.Subjects, inSubjects = d.peerList(path+".subjects", item.Subjects)
	return out, append(problems, inSubjects...)
}

// upstreamAudience reads for whom the tokens of an upstream are; empty is for none.
func (d *draft) upstreamAudience(path string, written json.RawMessage, up ir.Upstream) (string, []problem) {
	if written == nil {
		return "", nil
	}
	var item upstreamJWT
	if err := decodeJWT(written, "{audience: /api}", &item); err != nil {
		return "", []problem{{path, err}}
	}
	var problems []problem
	if up.Protocol == ir.TCP {
		problems = append(problems, problem{path, errTokensInTCP})
	}
	if item.Audience != nil {
		audience, err := d.audience(*item.Audience)
		if err != nil {
			problems = append(problems, problem{path + ".audience", err})
		}
		return audience, problems
	}
	if len(up.Peers) != 1 || up.Peers[0].IsPrefix() {
		return "", append(problems, problem{path + ".audience", errors.New("expected for whom the tokens are, such as /api, got nothing; only where peers is one ID it is the default")})
	}
	return up.Peers[0].String(), problems
}

// audience reads for whom a token is: a path in the own trust domain, or any other text as it is.
func (d *draft) audience(s string) (string, error) {
	const want = `expected an audience such as "/api", "spiffe://example.org/api" or "api.example.org"`
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s, in printable ASCII without spaces, got %q", want, s)
	}
	full := s
	if strings.HasPrefix(s, "/") {
		full = d.trustDomain().IDString() + s
	}
	if strings.HasPrefix(full, "spiffe:") {
		if _, err := spiffeid.FromString(full); err != nil {
			return "", fmt.Errorf("%s, got %q: %w", want, s, err)
		}
	}
	return full, nil
}

// withAudiences gives listeners that ask for tokens and do not say for whom the pod's own ID.
func withAudiences(listeners []ir.Inbound, own spiffeid.ID) []ir.Inbound {
	for i, l := range listeners {
		if len(l.JWT.Subjects) > 0 && len(l.JWT.Audiences) == 0 {
			listeners[i].JWT.Audiences = []string{own.String()}
		}
	}
	return listeners
}

// tokens says whether the pod asks for tokens, or sends some.
func (in Intent) Tokens() bool {
	return in.Mode.Envoy() && (len(in.Audiences()) > 0 ||
		slices.ContainsFunc(in.Inbound, func(l ir.Inbound) bool { return len(l.JWT.Subjects) > 0 }))
}

// audiences are those for which upstreams get tokens, in order.
func (in Intent) Audiences() []string {
	var out []string
	for _, up := range in.Upstreams {
		if up.JWTAudience != "" {
			out = append(out, up.JWTAudience)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
