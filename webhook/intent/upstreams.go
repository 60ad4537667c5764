package intent

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// upstreamItem is one item of the upstreams annotation as it is written.
type upstreamItem struct {
	Listen   json.RawMessage `json:"listen"` // a port, or a text with a name and a port
	Match    *string         `json:"match"`
	Address  string          `json:"address"`
	Peers    []string        `json:"peers"`
	Protocol string          `json:"protocol"`
	Host     *string         `json:"host"`
	// Passthrough are further ports of the name in listen.
	Passthrough []int `json:"passthrough"`

	JWT json.RawMessage `json:"jwt"` // an [upstreamJWT]
	TLS json.RawMessage `json:"tls"` // an [upstreamTLS]
	resilienceItem
}

func (r *reader) parseUpstreams(v string) []problem {
	var items []upstreamItem
	example := `- {listen: 8000, address: "api.default.svc:8443", peers: [/api]}`
	if r.Mode.Gateway {
		example = `- {match: /api, address: "api.default.svc:8443", peers: [/api]}`
	}
	if err := r.decodeList(v, example, boundUpstreams, &items); err != nil {
		return whole(err)
	}
	peers := 0
	for _, item := range items {
		peers += len(item.Peers)
	}
	r.count(boundCallers, peers)
	if within := r.count(boundPeers, peers); !r.count(boundUpstreams, len(items)) || !within {
		return nil // it is told of the pod as a whole
	}
	if len(items) == 0 {
		return whole(errors.New("expected at least one upstream, got an empty list"))
	}
	var problems []problem
	for i, item := range items {
		up, inItem := r.upstream(fmt.Sprintf("[%d]", i), item)
		r.Proxy.Upstreams = append(r.Proxy.Upstreams, up)
		problems = append(problems, inItem...)
	}
	return problems
}

// upstream reads one item. What it leaves out is told of when the model is checked.
func (r *reader) upstream(path string, item upstreamItem) (ir.Upstream, []problem) {
	var up ir.Upstream
	f := fieldErrors{path: path}
	r.listen(&f, item.Listen, &up)
	up.Passthrough = r.passthrough(&f, item.Passthrough)
	var err error
	if item.Match != nil {
		up.Match, err = ir.ParseMatch(*item.Match)
		f.add(".match", err)
	}
	switch {
	case item.Address != "":
		up.Address, err = ir.ParseAddress(item.Address)
		f.add(".address", err)
	case !up.Name.IsZero(): // the name says it, and the port is the one that the app calls
		up.Address = up.Name.Address(up.Listen)
	}
	if item.Host != nil {
		up.Host, err = ir.ParseHost(*item.Host)
		f.add(".host", err)
	}
	up.Protocol, err = ir.ParseProtocol(item.Protocol)
	f.add(".protocol", withHint(err, item.Protocol, ir.Protocols()...))
	up.Server = r.readServer(&f, item.TLS, up)
	if item.Peers != nil {
		up.Peers = r.peersOf(&f, ".peers", item.Peers)
	}
	up.JWTAudience = r.readUpstreamJWT(&f, item.JWT, up)
	up.Resilience = item.read(&f)
	return up, f.problems
}
