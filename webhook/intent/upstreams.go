package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// upstreamItem is one item of the upstreams annotation as it is written.
type upstreamItem struct {
	Listen   *int     `json:"listen"`
	Match    *string  `json:"match"`
	Address  string   `json:"address"`
	Peers    []string `json:"peers"`
	Protocol string   `json:"protocol"`

	JWT json.RawMessage `json:"jwt"` // an [upstreamJWT]
}

func (d *draft) parseUpstreams(v string) []problem {
	var items []upstreamItem
	if err := decodeStrictly([]byte(v), &items); err != nil {
		example := `- {listen: 8000, address: "api.default.svc:8443", peers: [/api]}`
		if d.mode.Gateway {
			example = `- {match: /api, address: "api.default.svc:8443", peers: [/api]}`
		}
		return whole(fmt.Errorf(`expected a YAML list such as %s: %w`, example, err))
	}
	if len(items) == 0 {
		return whole(errors.New("expected at least one upstream, got an empty list"))
	}
	var problems []problem
	matched := map[ir.Match]int{}
	for i, item := range items {
		up, inItem := d.upstream(fmt.Sprintf("[%d]", i), item)
		d.upstreams = append(d.upstreams, up)
		problems = append(problems, inItem...)
		if earlier, ok := matched[up.Match]; ok && up.Match != (ir.Match{}) {
			problems = append(problems, problem{fmt.Sprintf("[%d].match", i), fmt.Errorf("%s is matched already by [%d]", up.Match, earlier)})
			continue
		}
		matched[up.Match] = i
	}
	return problems
}

func (d *draft) upstream(path string, item upstreamItem) (ir.Upstream, []problem) {
	var up ir.Upstream
	var problems []problem
	fail := func(field string, err error) {
		if err != nil {
			problems = append(problems, problem{path + field, err})
		}
	}
	var err error
	switch {
	case d.modeUnclear:
	case d.mode.Gateway:
		if item.Listen != nil {
			fail(".listen", fmt.Errorf("a gateway has no app that could talk to it: its ports are in %s, remove listen", AnnotationInbound))
		}
		if item.Match == nil {
			fail(".match", errors.New(`expected the host and path of the requests that go there, such as "/api" or "api.example.org/", got nothing`))
		} else {
			up.Match, err = ir.ParseMatch(*item.Match)
			fail(".match", err)
		}
	default:
		if item.Match != nil {
			fail(".match", errors.New("is for gateways, which route requests by host and path: remove match, or add "+AnnotationMode+": gateway"))
		}
		if item.Listen == nil {
			fail(".listen", errors.New("expected the port on 127.0.0.1 that the app talks to, got nothing"))
		} else {
			up.Listen, err = portNumber(*item.Listen)
			fail(".listen", err)
		}
	}
	up.Address, err = ir.ParseAddress(item.Address)
	fail(".address", err)
	up.Protocol, err = ir.ParseProtocol(item.Protocol)
	fail(".protocol", withHint(err, item.Protocol, protocols...))
	if err == nil && d.mode.Gateway && up.Protocol == ir.TCP {
		fail(".protocol", errors.New("expected http, http2 or grpc at a gateway, which routes by host and path, got tcp"))
	}
	var inPeers []problem
	up.Peers, inPeers = d.peerList(path+".peers", item.Peers)
	// Envoy, as a client, would trust the CA of each of these domains for the peers of all of them.
	for _, peer := range up.Peers {
		if first := up.Peers[0].TrustDomain(); peer.TrustDomain() != first {
			fail(".peers", fmt.Errorf("expected peers of one trust domain, got %s and %s: write an upstream for each", first, peer.TrustDomain()))
			break
		}
	}
	var inJWT []problem
	up.JWTAudience, inJWT = d.upstreamAudience(path+".jwt", item.JWT, up)
	return up, slices.Concat(problems, inPeers, inJWT)
}
