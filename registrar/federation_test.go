package registrar_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

func TestPlanFederation(t *testing.T) {
	web := func(name, url string) registrar.Relationship {
		return registrar.Relationship{TrustDomain: spiffeid.RequireTrustDomainFromString(name), BundleEndpointURL: url, Profile: registrar.HTTPSWeb}
	}
	spiffe := func(r registrar.Relationship, path string) registrar.Relationship {
		r.Profile, r.EndpointSPIFFEID = registrar.HTTPSSPIFFE, spiffeid.RequireFromPath(r.TrustDomain, path)
		return r
	}
	a, b := web("a.org", "https://a.org:8443"), spiffe(web("b.org", "https://b.org/bundle"), "/spire/server")
	stale := a
	stale.EndpointSPIFFEID = b.EndpointSPIFFEID // means nothing under https_web
	for name, tc := range map[string]struct {
		wanted, current []registrar.Relationship
		create, update  []registrar.Relationship
	}{
		"nothing":                {},
		"new ones, in order":     {wanted: []registrar.Relationship{b, a}, create: []registrar.Relationship{b, a}},
		"the same":               {wanted: []registrar.Relationship{a, b}, current: []registrar.Relationship{b, a}},
		"others are left":        {wanted: []registrar.Relationship{a}, current: []registrar.Relationship{a, b}},
		"nothing wanted":         {current: []registrar.Relationship{a, b}},
		"another endpoint":       {wanted: []registrar.Relationship{a}, current: []registrar.Relationship{web("a.org", "https://old.org")}, update: []registrar.Relationship{a}},
		"another profile":        {wanted: []registrar.Relationship{a}, current: []registrar.Relationship{spiffe(a, "/x")}, update: []registrar.Relationship{a}},
		"another endpoint ID":    {wanted: []registrar.Relationship{b}, current: []registrar.Relationship{spiffe(b, "/x")}, update: []registrar.Relationship{b}},
		"an ID that is not used": {wanted: []registrar.Relationship{stale}, current: []registrar.Relationship{a}},
		"another spelling":       {wanted: []registrar.Relationship{web("a.org", "HTTPS://a.org:8443")}, current: []registrar.Relationship{a}},
		"wanted twice":           {wanted: []registrar.Relationship{a, web("a.org", "https://second.org")}, create: []registrar.Relationship{a}},
	} {
		t.Run(name, func(t *testing.T) {
			create, update := registrar.PlanFederation(tc.wanted, tc.current)
			if diff := cmp.Diff(tc.create, create, entryComparer); diff != "" {
				t.Errorf("to create (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.update, update, entryComparer); diff != "" {
				t.Errorf("to update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateRelationship(t *testing.T) {
	td := spiffeid.RequireTrustDomainFromString("auxiliary.org")
	for name, tc := range map[string]struct {
		relationship registrar.Relationship
		want         []string // in the error; none for a valid one
	}{
		"web":         {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "https://auxiliary.org:8443/x", Profile: registrar.HTTPSWeb}},
		"spiffe":      {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "https://10.0.0.1", Profile: registrar.HTTPSSPIFFE, EndpointSPIFFEID: spiffeid.RequireFromPath(td, "/x")}},
		"nothing":     {want: []string{"no trust domain", `bundle endpoint ""`, `profile "" of the bundle endpoint: expected https_web or https_spiffe`}},
		"plain HTTP":  {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "http://auxiliary.org", Profile: registrar.HTTPSWeb}, want: []string{"expected an https URL"}},
		"a user":      {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "https://u@auxiliary.org", Profile: registrar.HTTPSWeb}, want: []string{"without a user"}},
		"a host only": {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "auxiliary.org:8443", Profile: registrar.HTTPSWeb}, want: []string{"expected an https URL"}},
		"no ID":       {relationship: registrar.Relationship{TrustDomain: td, BundleEndpointURL: "https://auxiliary.org", Profile: registrar.HTTPSSPIFFE}, want: []string{"no SPIFFE ID of the bundle endpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.relationship.Validate()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			for _, text := range tc.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q, want one with %q", err, text)
				}
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	a, b, c := spiffeid.RequireTrustDomainFromString("a.org"), spiffeid.RequireTrustDomainFromString("b.org"), spiffeid.RequireTrustDomainFromString("c.org")
	e := demoCluster(t).WorkloadEntry(workload("/api", 0))
	e.FederatesWith = []spiffeid.TrustDomain{c, b, a, c}
	for name, tc := range map[string]struct {
		present, kept, missing []spiffeid.TrustDomain
	}{
		"all there":  {present: []spiffeid.TrustDomain{a, b, c}, kept: []spiffeid.TrustDomain{a, b, c}},
		"some there": {present: []spiffeid.TrustDomain{b}, kept: []spiffeid.TrustDomain{b}, missing: []spiffeid.TrustDomain{a, c}},
		"none there": {missing: []spiffeid.TrustDomain{a, b, c}},
	} {
		t.Run(name, func(t *testing.T) {
			got, missing := e.Narrow(func(td spiffeid.TrustDomain) bool { return slices.Contains(tc.present, td) })
			want := e
			want.FederatesWith = tc.kept
			if diff := cmp.Diff(want, got, entryComparer); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.missing, missing, entryComparer); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if len(e.FederatesWith) != 4 || e.FederatesWith[0] != c {
				t.Errorf("the wanted entry was changed: %v", e.FederatesWith)
			}
		})
	}
}
