package templates

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// sdsWithoutValidator makes the SPIRE agent name authorities to Envoy's own validator instead of its SPIFFE validator,
// which refuses callers without a certificate whatever it is told. It holds for all of an Envoy.
const sdsWithoutValidator = "disable_spiffe_cert_validation"

// nodeMetadata is what the bootstrap says of the proxy to the SPIRE agent, and of the ports that never change to people.
func (p envoy) nodeMetadata() *structpb.Struct {
	metadata := p.fixedPorts()
	if !p.RequestsCertificates() {
		return metadata
	}
	if metadata == nil {
		metadata = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	metadata.Fields[sdsWithoutValidator] = structpb.NewBoolValue(true)
	return metadata
}

// nobody is a caller of whom the app is told nothing: Envoy removes the header of callers without a certificate before
// it asks for authorization, and sets it for all others.
func nobody() *rbacv3.Principal {
	named := &rbacv3.Principal{Identifier: &rbacv3.Principal_Header{Header: &routev3.HeaderMatcher{
		Name: xfccHeader, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
	}}}
	return notPrincipal(named)
}
