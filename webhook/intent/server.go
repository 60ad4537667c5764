package intent

import (
	"encoding/json"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// upstreamTLS is tls of an item of the upstreams annotation as it is written.
type upstreamTLS struct {
	CA                json.RawMessage `json:"ca"` // system, or {secret: NAME}
	SNI               *string         `json:"sni"`
	ClientCertificate *string         `json:"clientCertificate"`
}

const (
	systemCA = "system"
	// presentSVID is the only value of clientCertificate.
	presentSVID = "svid"
)

// readServer reads how a service outside the mesh proves who it is. The address has been read: the certificate is for
// its host, unless something else is written.
func (r *reader) readServer(f *fieldErrors, written json.RawMessage, up ir.Upstream) ir.Server {
	if written == nil {
		return ir.Server{}
	}
	server := ir.Server{External: true, Name: up.Address.ServerName()}
	var item upstreamTLS
	if err := decodeObject(written, "{ca: system} or {ca: {secret: db-ca}}", &item); err != nil {
		f.add(".tls", err)
		return server
	}
	var err error
	if item.CA != nil {
		server.CA, err = parseCA(item.CA)
		f.add(".tls.ca", err)
	}
	if item.SNI != nil {
		server.Name, err = ir.ParseServerName(*item.SNI)
		f.add(".tls.sni", err)
	}
	if item.ClientCertificate != nil {
		server.PresentSVID = true
		f.add(".tls.clientCertificate", expectOneOf(*item.ClientCertificate, presentSVID))
	}
	return server
}

// parseCA reads whose certificates are taken.
func parseCA(written json.RawMessage) (ir.CA, error) {
	var text string
	if json.Unmarshal(written, &text) == nil && string(written) != "null" {
		if text == systemCA {
			return ir.SystemCA(), nil
		}
		return ir.CA{}, withHint(fmt.Errorf("expected system or {secret: NAME}, got %q", text), text, systemCA)
	}
	var item certificateItem
	if err := decodeObject(written, "{secret: db-ca}, or system", &item); err != nil {
		return ir.CA{}, err
	}
	return ir.ParseCASecret(item.Secret)
}
