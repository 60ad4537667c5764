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

// protocols are the names that [ir.ParseProtocol] reads.
var protocols = []string{"http", "http2", "grpc", "tcp"}

// inboundItem is one item of the inbound annotation as it is written.
type inboundItem struct {
	Listen   *int      `json:"listen"`
	App      *int      `json:"app"`
	Protocol string    `json:"protocol"`
	Peers    *[]string `json:"peers"` // nil means allowed-peers
	TLS      string    `json:"tls"`
	clientsItem

	JWT json.RawMessage `json:"jwt"` // an [inboundJWT]
}

func (d *draft) parseAppPort(v string) []problem {
	n, err := strconv.Atoi(v)
	if err != nil {
		return whole(fmt.Errorf("expected a port from 1 to 65535, got %q", v))
	}
	app, err := portNumber(n)
	if err == nil && d.mode.Gateway {
		err = fmt.Errorf("a gateway has no app; write its listeners in %s", AnnotationInbound)
	}
	d.inbound = []ir.Inbound{{Listen: d.platform.InboundPort, App: app, Peers: d.peers}}
	d.defaultPeers = []bool{true}
	return whole(err)
}

func (d *draft) parseAllowedPeers(v string) []problem {
	peers, problems := d.peerList("", fields(v))
	d.peers = peers
	return problems
}

func (d *draft) parseInbound(v string) []problem {
	var items []inboundItem
	if err := decodeStrictly([]byte(v), &items); err != nil {
		return whole(fmt.Errorf("expected a YAML list such as - {listen: 8443, app: 8080, peers: [/web]}: %w", err))
	}
	if len(items) == 0 {
		return whole(errors.New("expected at least one listener, got an empty list"))
	}
	d.inbound, d.defaultPeers = nil, nil
	var problems []problem
	for i, item := range items {
		in, inItem := d.inboundListener(fmt.Sprintf("[%d]", i), item)
		d.inbound = append(d.inbound, in)
		d.defaultPeers = append(d.defaultPeers, item.Peers == nil && in.Identifies())
		problems = append(problems, inItem...)
	}
	return problems
}

func (d *draft) inboundListener(path string, item inboundItem) (ir.Inbound, []problem) {
	var in ir.Inbound
	var problems []problem
	fail := func(field string, err error) {
		if err != nil {
			problems = append(problems, problem{path + field, err})
		}
	}
	var err error
	if item.Listen == nil {
		fail(".listen", errors.New("expected the port that callers use, got nothing"))
	} else {
		in.Listen, err = portNumber(*item.Listen)
		fail(".listen", err)
	}
	switch {
	case d.modeUnclear:
	case d.mode.Gateway && item.App != nil:
		fail(".app", fmt.Errorf("a gateway has no app; its requests go where %s says", AnnotationUpstreams))
	case !d.mode.Gateway && item.App == nil:
		fail(".app", errors.New("expected the port on which the app listens on localhost, got nothing"))
	case item.App != nil:
		in.App, err = portNumber(*item.App)
		fail(".app", err)
	}
	in.Protocol, err = ir.ParseProtocol(item.Protocol)
	fail(".protocol", withHint(err, item.Protocol, protocols...))
	if err == nil && d.mode.Gateway && in.Protocol == ir.TCP {
		fail(".protocol", errors.New("expected http, http2 or grpc at a gateway, which routes by host and path, got tcp"))
	}
	in.TLS, err = ir.ParseTLSMode(item.TLS)
	fail(".tls", withHint(err, item.TLS, "mutual", "permissive", "none"))
	problems = append(problems, d.clientsOf(path, item.clientsItem, &in)...)
	if item.Peers != nil {
		switch {
		case in.TLS == ir.None:
			fail(".peers", fmt.Errorf("has no effect without TLS, where nobody shows a certificate: remove peers, or use tls: mutual or permissive%s", orSubjects(item)))
		case !in.Identifies():
			fail(".peers", fmt.Errorf("has no effect with clientCertificate: none, where nobody shows a certificate: remove peers, or use required or optional%s", orSubjects(item)))
		}
		var inPeers []problem
		in.Peers, inPeers = d.peerList(path+".peers", *item.Peers)
		problems = append(problems, inPeers...)
	}
	var inJWT []problem
	in.JWT, inJWT = d.inboundJWT(path+".jwt", item.JWT, in.Protocol)
	return in, append(problems, inJWT...)
}

// orSubjects reminds of the other list of callers.
func orSubjects(item inboundItem) string {
	if item.JWT == nil {
		return ""
	}
	return "; whose tokens pass is in jwt.subjects"
}

func (d *draft) parseEnforcement(v string) []problem {
	d.audit = v == enforcementAudit
	if d.audit || v == enforcementEnforce {
		return nil
	}
	return whole(withHint(fmt.Errorf("expected %s or %s, got %q", enforcementEnforce, enforcementAudit, v), v, enforcementEnforce, enforcementAudit))
}
