package spireapi

import (
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/spire-injector/spire-injector/registrar"
)

// toProto refuses what SPIRE would, so that an entry that passes here loses nothing on the way.
func toProto(e registrar.Entry) (*types.Entry, error) {
	if err := e.Validate(); err != nil {
		return nil, &registrar.Error{
			Kind:    registrar.Invalid,
			Err:     err,
			Message: fmt.Sprintf("entry %q (%s): %v", e.ID, e.SPIFFEID, err),
		}
	}
	e = e.Canonical()
	pb := &types.Entry{
		Id:          e.ID,
		SpiffeId:    idToProto(e.SPIFFEID),
		ParentId:    idToProto(e.ParentID),
		X509SvidTtl: int32(e.X509SVIDTTL / time.Second), //nolint:gosec // Validate has checked the range
		JwtSvidTtl:  int32(e.JWTSVIDTTL / time.Second),  //nolint:gosec // Validate has checked the range
		DnsNames:    e.DNSNames,
		Hint:        e.Hint,
		Downstream:  e.Downstream,
		Admin:       e.Admin,
		StoreSvid:   e.StoreSVID,
	}
	for _, s := range e.Selectors {
		pb.Selectors = append(pb.Selectors, &types.Selector{Type: s.Type, Value: s.Value})
	}
	for _, td := range e.FederatesWith {
		pb.FederatesWith = append(pb.FederatesWith, td.Name())
	}
	if !e.ExpiresAt.IsZero() {
		pb.ExpiresAt = e.ExpiresAt.Unix()
	}
	return pb, nil
}

// fromProto returns the canonical form.
func fromProto(pb *types.Entry) (registrar.Entry, error) {
	if pb == nil {
		return registrar.Entry{}, errors.New("no entry")
	}
	id, err := idFromProto(pb.GetSpiffeId())
	if err != nil {
		return registrar.Entry{}, fmt.Errorf("SPIFFE ID: %w", err)
	}
	parent, err := idFromProto(pb.GetParentId())
	if err != nil {
		return registrar.Entry{}, fmt.Errorf("parent ID: %w", err)
	}
	e := registrar.Entry{
		ID:       pb.GetId(),
		SPIFFEID: id,
		ParentID: parent,
		Attributes: registrar.Attributes{
			X509SVIDTTL: time.Duration(pb.GetX509SvidTtl()) * time.Second,
			JWTSVIDTTL:  time.Duration(pb.GetJwtSvidTtl()) * time.Second,
			DNSNames:    pb.GetDnsNames(),
			Downstream:  pb.GetDownstream(),
			Admin:       pb.GetAdmin(),
		},
		Hint:      pb.GetHint(),
		StoreSVID: pb.GetStoreSvid(),
	}
	for _, s := range pb.GetSelectors() {
		e.Selectors = append(e.Selectors, registrar.Selector{Type: s.GetType(), Value: s.GetValue()})
	}
	for _, name := range pb.GetFederatesWith() {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return registrar.Entry{}, fmt.Errorf("federated trust domain: %w", err)
		}
		e.FederatesWith = append(e.FederatesWith, td)
	}
	if at := pb.GetExpiresAt(); at != 0 {
		e.ExpiresAt = time.Unix(at, 0)
	}
	if at := pb.GetCreatedAt(); at != 0 {
		e.CreatedAt = time.Unix(at, 0)
	}
	return e.Canonical(), nil
}

func toMask(f registrar.Fields) *types.EntryMask {
	return &types.EntryMask{
		SpiffeId:      f.Has(registrar.FieldSPIFFEID),
		ParentId:      f.Has(registrar.FieldParentID),
		Selectors:     f.Has(registrar.FieldSelectors),
		X509SvidTtl:   f.Has(registrar.FieldX509SVIDTTL),
		JwtSvidTtl:    f.Has(registrar.FieldJWTSVIDTTL),
		FederatesWith: f.Has(registrar.FieldFederatesWith),
		DnsNames:      f.Has(registrar.FieldDNSNames),
		Hint:          f.Has(registrar.FieldHint),
		Downstream:    f.Has(registrar.FieldDownstream),
		Admin:         f.Has(registrar.FieldAdmin),
		StoreSvid:     f.Has(registrar.FieldStoreSVID),
		ExpiresAt:     f.Has(registrar.FieldExpiresAt),
	}
}

func relationshipToProto(r registrar.Relationship) (*types.FederationRelationship, error) {
	if err := r.Validate(); err != nil {
		return nil, &registrar.Error{
			Kind:    registrar.Invalid,
			Err:     err,
			Message: fmt.Sprintf("federation relationship with %q: %v", r.TrustDomain, err),
		}
	}
	r = r.Canonical()
	pb := &types.FederationRelationship{TrustDomain: r.TrustDomain.Name(), BundleEndpointUrl: r.BundleEndpointURL}
	if r.Profile == registrar.HTTPSSPIFFE {
		pb.BundleEndpointProfile = &types.FederationRelationship_HttpsSpiffe{
			HttpsSpiffe: &types.HTTPSSPIFFEProfile{EndpointSpiffeId: r.EndpointSPIFFEID.String()},
		}
	} else {
		pb.BundleEndpointProfile = &types.FederationRelationship_HttpsWeb{HttpsWeb: &types.HTTPSWebProfile{}}
	}
	return pb, nil
}

// relationshipFromProto returns the canonical form.
func relationshipFromProto(pb *types.FederationRelationship) (registrar.Relationship, error) {
	td, err := spiffeid.TrustDomainFromString(pb.GetTrustDomain())
	if err != nil {
		return registrar.Relationship{}, fmt.Errorf("trust domain: %w", err)
	}
	r := registrar.Relationship{TrustDomain: td, BundleEndpointURL: pb.GetBundleEndpointUrl()}
	switch profile := pb.GetBundleEndpointProfile().(type) {
	case *types.FederationRelationship_HttpsWeb:
		r.Profile = registrar.HTTPSWeb
	case *types.FederationRelationship_HttpsSpiffe:
		r.Profile = registrar.HTTPSSPIFFE
		if r.EndpointSPIFFEID, err = spiffeid.FromString(profile.HttpsSpiffe.GetEndpointSpiffeId()); err != nil {
			return registrar.Relationship{}, fmt.Errorf("SPIFFE ID of the bundle endpoint of %q: %w", td, err)
		}
	default:
		return registrar.Relationship{}, fmt.Errorf("bundle endpoint profile of %q: %T, expected https_web or https_spiffe", td, profile)
	}
	return r.Canonical(), nil
}

func idToProto(id spiffeid.ID) *types.SPIFFEID {
	return &types.SPIFFEID{TrustDomain: id.TrustDomain().Name(), Path: id.Path()}
}

func idFromProto(pb *types.SPIFFEID) (spiffeid.ID, error) {
	return spiffeid.FromString("spiffe://" + pb.GetTrustDomain() + pb.GetPath())
}
