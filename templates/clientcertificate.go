package templates

import (
	"fmt"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// ClientCertificate says whether callers of an inbound port with TLS have to show a certificate. The zero value is Required.
type ClientCertificate int

// What callers have to show.
const (
	Required ClientCertificate = iota // a certificate of a peer
	Optional                          // the same, or none: then the caller is served as nobody; not with TCP
	NotAsked                          // nothing: everybody is served as nobody
)

var clientCertificateNames = [...]string{Required: "required", Optional: "optional", NotAsked: "none"}

// ParseClientCertificate reads a name; "" is the default, Required. The error lists the valid names.
func ParseClientCertificate(s string) (ClientCertificate, error) {
	if s == "" {
		return Required, nil
	}
	for c, name := range clientCertificateNames {
		if s == name {
			return ClientCertificate(c), nil
		}
	}
	return Required, fmt.Errorf("client certificate %q: expected one of %s", s, strings.Join(clientCertificateNames[:], ", "))
}

func (c ClientCertificate) String() string {
	if !c.valid() {
		return fmt.Sprintf("clientCertificate(%d)", int(c))
	}
	return clientCertificateNames[c]
}

func (c ClientCertificate) valid() bool { return c >= 0 && int(c) < len(clientCertificateNames) }

// Identifies says whether callers of the port may show who they are.
func (in Inbound) Identifies() bool { return in.TLS != None && in.Clients != NotAsked }

// public says whether callers may come that do not show who they are, for good and not only until a migration has ended.
func (in Inbound) public() bool { return in.TLS == None || in.Clients != Required }

// sdsWithoutValidator makes the SPIRE agent name authorities to Envoy's own validator instead of its SPIFFE validator, which
// refuses callers without a certificate whatever it is told. It holds for all of an Envoy.
const sdsWithoutValidator = "disable_spiffe_cert_validation"

// asksOptionally says whether a port of the proxy takes callers with and without a certificate.
func (p Proxy) asksOptionally() bool {
	for _, in := range p.Inbound {
		if in.TLS == Mutual && in.Clients == Optional {
			return true
		}
	}
	return false
}

// nodeMetadata is what the bootstrap says of the proxy, for the SPIRE agent and for [SamePorts].
func (p Proxy) nodeMetadata() *structpb.Struct {
	metadata := p.fixedPorts()
	if !p.asksOptionally() {
		return metadata
	}
	if metadata == nil {
		metadata = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	metadata.Fields[sdsWithoutValidator] = structpb.NewBoolValue(true)
	return metadata
}

// nobody is a caller of whom the app is told nothing: Envoy removes the header of callers without a certificate before it
// asks for authorization, and sets it for all others.
func nobody() *rbacv3.Principal {
	named := &rbacv3.Principal{Identifier: &rbacv3.Principal_Header{Header: &routev3.HeaderMatcher{
		Name: xfccHeader, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
	}}}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: named}}
}

// checkClients finds what does not go together with the clients that a port takes.
func (m *mistakes) checkClients(where string, in Inbound) {
	if !in.Clients.valid() {
		m.add("%s: expected a known client certificate mode, got %s", where, in.Clients)
	}
	if in.Clients != Required && in.TLS != Mutual {
		m.add("%s: expected client certificates to be required in TLS mode %s, got %s", where, in.TLS, in.Clients)
	}
	if in.Clients == Optional && in.Protocol == TCP {
		m.add("%s: expected client certificates to be required or none with protocol %s, got %s", where, TCP, in.Clients)
	}
	if in.Certificate && in.TLS == None {
		m.add("%s: expected no certificate of a Secret in TLS mode %s", where, None)
	}
	switch {
	case in.Identifies():
		m.checkPeers(where, in.Peers)
	case len(in.Peers) > 0:
		m.add("%s: expected no peers, because nobody shows an identity, got %d", where, len(in.Peers))
	}
}

// checkOneValidator refuses ports that need the SPIFFE validator beside one that cannot have it.
func (p Proxy) checkOneValidator(m *mistakes) {
	if !p.asksOptionally() {
		return
	}
	for i, in := range p.Inbound {
		if in.Identifies() && bundle(in.verified()) == allBundles && len(in.Peers) > 0 {
			m.add("%s: expected peers of one trust domain that are enforced, because a port of this proxy takes callers without a certificate",
				in.where(i))
		}
	}
}
