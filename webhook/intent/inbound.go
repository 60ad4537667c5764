package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Values of AnnotationEnforcement.
const (
	enforcementEnforce = "enforce"
	enforcementAudit   = "audit"
)

// inboundItem is one item of the inbound annotation as it is written.
type inboundItem struct {
	Listen   *int            `json:"listen"`
	App      json.RawMessage `json:"app"`
	Protocol string          `json:"protocol"`
	// Peers are texts and [peerItem]s; nil means allowed-peers.
	Peers *[]json.RawMessage `json:"peers"`
	TLS   string             `json:"tls"`
	clientsItem

	JWT json.RawMessage `json:"jwt"` // an [inboundJWT]
}

func (r *reader) parseAppPort(v string) []problem {
	n, err := strconv.Atoi(v)
	if err != nil {
		return whole(fmt.Errorf("expected a port from 1 to 65535, got %q", v))
	}
	app, err := portNumber(n)
	r.short = true
	in := ir.Inbound{Listen: r.platform.InboundPort, App: app}
	in.Limits = r.defaultLimits(in)
	r.inbound = []listener{{Inbound: in, defaultPeers: true}}
	return whole(err)
}

func (r *reader) parseAllowedPeers(v string) []problem {
	items := fields(v)
	if len(items) == 0 {
		return whole(errors.New("expected at least one peer, got an empty list"))
	}
	if !r.count(boundPeers, len(items)) {
		return nil // it is told of the pod as a whole
	}
	peers, problems := r.peerList("", items)
	r.peers = peers
	return problems
}

func (r *reader) parseInbound(v string) []problem {
	var items []inboundItem
	if err := r.decodeList(v, "- {listen: 8443, app: 8080, peers: [/web]}", boundListeners, &items); err != nil {
		return whole(err)
	}
	if !r.countInbound(items) {
		return nil // it is told of the pod as a whole
	}
	if len(items) == 0 {
		return whole(errors.New("expected at least one listener, got an empty list"))
	}
	r.inbound, r.short = nil, false
	var problems []problem
	for i, item := range items {
		l, inItem := r.listener(fmt.Sprintf("[%d]", i), item)
		r.inbound = append(r.inbound, l)
		problems = append(problems, inItem...)
	}
	return problems
}

// countInbound counts what listeners list, before it is read, and says whether it is within the bounds.
func (r *reader) countInbound(items []inboundItem) bool {
	peers, rules := 0, 0
	for _, item := range items {
		if item.ForwardedClients != nil {
			peers += len(*item.ForwardedClients)
		}
		if item.Peers == nil {
			continue
		}
		peers += len(*item.Peers)
		for _, raw := range *item.Peers {
			if len(raw) > 0 && raw[0] == '{' {
				rules++
			}
		}
	}
	within := r.count(boundListeners, len(items))
	within = r.count(boundPeers, peers) && within
	within = r.count(boundCallers, peers) && within
	return r.count(boundRules, rules) && within
}

// listener reads one item. What it leaves out is told of when the model is checked.
func (r *reader) listener(path string, item inboundItem) (listener, []problem) {
	var in ir.Inbound
	f := fieldErrors{path: path}
	in.Listen = f.port(".listen", item.Listen)
	in.AppHost, in.App = f.app(item.App)
	var err error
	in.Protocol, err = ir.ParseProtocol(item.Protocol)
	f.add(".protocol", withHint(err, item.Protocol, ir.Protocols()...))
	in.TLS, err = ir.ParseTLSMode(item.TLS)
	f.add(".tls", withHint(err, item.TLS, ir.TLSModes()...))
	r.readClients(&f, item.clientsItem, &in)
	if item.Peers != nil {
		r.readCallers(&f, *item.Peers, &in)
	}
	own := r.readInboundJWT(&f, item.JWT, &in)
	return listener{Inbound: in, defaultPeers: item.Peers == nil && in.Identifies(), ownAudience: own}, f.problems
}

// fieldErrors collects what is wrong with the fields of one item of a list.
type fieldErrors struct {
	path     string // of the item
	problems []problem
}

func (f *fieldErrors) add(field string, err error) {
	if err != nil {
		f.problems = append(f.problems, problem{f.path + field, err})
	}
}

// port reads a port that may be left out.
func (f *fieldErrors) port(field string, written *int) uint16 {
	if written == nil {
		return 0
	}
	port, err := portNumber(*written)
	f.add(field, err)
	return port
}

func (r *reader) peersOf(f *fieldErrors, field string, items []string) []ir.Peer {
	peers, problems := r.peerList(f.path+field, items)
	f.problems = append(f.problems, problems...)
	return peers
}

func (r *reader) parseEnforcement(v string) []problem {
	r.audit = v == enforcementAudit
	if r.audit || v == enforcementEnforce {
		return nil
	}
	return whole(
		withHint(
			fmt.Errorf("expected %s or %s, got %q", enforcementEnforce, enforcementAudit, v),
			v,
			enforcementEnforce,
			enforcementAudit,
		),
	)
}
