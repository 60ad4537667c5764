package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// federation is whether SPIRE has what the platform file says of foreign trust domains, and those that pods federate
// with. The leader exports what it found.
func federation(f Facts) []Finding {
	p, ok := f.platform()
	leader, leads := f.leading()
	if !ok || !leads {
		return nil
	}
	var out []Finding
	for _, r := range p.Federation {
		out = append(out, f.related(leader, r))
	}
	for _, u := range f.unrelated(p) {
		if leader.withoutBundle() == 0 {
			out = append(out, fine(u.where, "%s, %s, has no relationship in the platform file, and no entry lacks its bundle",
				u.domain, u.named()))
			continue
		}
		out = append(out, found(Warning, u.where, "%s, %s, has no relationship in the platform file, and %s a bundle",
			u.domain, u.named(), lack(leader.withoutBundle())).
			expected("a relationship in spire.federation, or a bundle that SPIRE gets in another way").
			remedy("spire-server bundle list: if it has none of %s, list that in spire.federation of the platform file, or "+
				"correct the name: its peers cannot be verified", u.domain))
	}
	return orFine(out, fine("", "no foreign trust domain"))
}

// lack says how many entries lack something.
func lack(entries float64) string {
	if entries == 1 {
		return "1 registration entry lacks"
	}
	return fmt.Sprintf("%v registration entries lack", entries)
}

// related judges one relationship of the platform file.
func (f Facts) related(leader Replica, r registrar.Federated) Finding {
	td := r.TrustDomain.Name()
	look := "look from the SPIRE server at " + r.BundleEndpointURL + ": its address, and its certificate; " +
		"the leader's log has SPIRE's words"
	inPlace, compared := leader.federated("relationship_in_place", td)
	present, seen := leader.federated("bundle_present", td)
	last, _ := leader.federated("last_refresh_timestamp_seconds", td)
	fetched := time.Unix(int64(last), 0)
	age := duration.HumanDuration(max(f.At.Sub(fetched), 0))
	switch {
	case !compared:
		return found(Warning, f.pod(leader), "the relationship with %s has not been compared with SPIRE's", td).
			expected("a comparison soon after the leader leads or the platform file changes").
			remedy("wait and check again; then the leader's log says why SPIRE does not answer")
	case inPlace == 0:
		return found(Error, f.Platform.Where, "SPIRE does not have the relationship with %s as the platform file says", td).
			expected("that of spire.federation").
			remedy("the leader's log and the event %s on the ConfigMap have SPIRE's words; "+
				"its authorization policy has to list %s under \"federation\" in policy-data.json", reason.RelationshipRejected, td)
	case seen && present == 0 && r.EndpointSPIFFEID.MemberOf(r.TrustDomain):
		return found(Error, f.Platform.Where, "SPIRE has no bundle of %s", td).
			expected("a first one, by which SPIRE verifies %s", r.BundleEndpointURL).
			remedy("spire-server bundle set -format spiffe -id spiffe://%s -path FILE, once; if that was done, %s. Peers of "+
				"%s cannot be verified", td, look, td)
	case seen && present == 0:
		return found(Error, f.Platform.Where, "SPIRE has no bundle of %s", td).expected("that of %s", r.BundleEndpointURL).
			remedy("%s. Peers of %s cannot be verified", look, td)
	case registrar.Freshness{Interval: r.Refresh, Fetched: fetched}.Stale(f.At):
		return found(Warning, f.Platform.Where, "the bundle of %s has not been fetched for %s", td, age).
			expected("it every %s", r.Refresh).
			remedy("%s. When %s changes its keys, its peers are refused", look, td)
	case !leader.hasFetched(td):
		return fine(f.Platform.Where, "%s: the relationship and a bundle are there", td)
	}
	return fine(f.Platform.Where, "%s: the relationship is there, the bundle was fetched %s ago", td, age)
}

// federated is a metric of the federation with a trust domain.
func (r Replica) federated(name, td string) (float64, bool) {
	for _, s := range r.Metrics["spire_injector_federation_"+name] {
		if s.Labels["trust_domain"] == td {
			return s.Value, true
		}
	}
	return 0, false
}

func (r Replica) hasFetched(td string) bool {
	return slices.ContainsFunc(r.Metrics["spire_injector_federation_refreshes_total"], func(s Sample) bool {
		return s.Labels["trust_domain"] == td && s.Labels["result"] == "success" && s.Value > 0
	})
}

// withoutBundle is how many entries lack a federated trust domain.
func (r Replica) withoutBundle() float64 {
	return r.Metrics.by("spire_injector_entries", "state")["without_bundle"]
}

// saysWhichBundle says whether the check of the federation names what entries lack.
func (f Facts) saysWhichBundle(leader Replica) bool {
	p, ok := f.platform()
	return ok && (len(f.unrelated(p)) > 0 || slices.ContainsFunc(p.Federation, func(r registrar.Federated) bool {
		inPlace, compared := leader.federated("relationship_in_place", r.TrustDomain.Name())
		present, seen := leader.federated("bundle_present", r.TrustDomain.Name())
		return compared && inPlace == 0 || seen && present == 0
	}))
}

// unrelated is a foreign trust domain that pods federate with, and the platform file says nothing of.
type unrelated struct {
	domain spiffeid.TrustDomain
	where  string   // the first place that names it
	by     []string // whatever names it
}

// named says which names it, as in "which namespace a names".
func (u unrelated) named() string {
	const many = 3
	switch n := len(u.by); {
	case n == 1:
		return "which " + u.by[0] + " names"
	case n > many:
		return fmt.Sprintf("which %s and %d more name", strings.Join(u.by[:many], ", "), n-many)
	}
	return "which " + strings.Join(u.by, ", ") + " name"
}

// unrelated finds such domains in the platform's defaults, and on the namespaces that the webhooks serve. Pods that
// name others learn it at admission.
func (f Facts) unrelated(p intent.Platform) []unrelated {
	var out []unrelated
	note := func(td spiffeid.TrustDomain, where, by string) {
		if slices.ContainsFunc(p.Federation, func(r registrar.Federated) bool { return r.TrustDomain == td }) {
			return
		}
		i := slices.IndexFunc(out, func(u unrelated) bool { return u.domain == td })
		if i < 0 {
			i, out = len(out), append(out, unrelated{domain: td, where: where})
		}
		out[i].by = append(out[i].by, by)
	}
	for _, td := range p.FederatesWith {
		note(td, f.Platform.Where, "defaults.federatesWith")
	}
	for _, ns := range f.Namespaces {
		if _, names := ns.Annotations[intent.AnnotationFederatesWith]; !names || !f.serves(ns.Labels) {
			continue
		}
		for _, td := range intent.FederatesWith(p, f.namespace(ns.Name)) {
			note(td, "Namespace "+ns.Name, "namespace "+ns.Name)
		}
	}
	return out
}

// serves says whether the webhooks are asked about pods of a namespace; if that is not known, they are.
func (f Facts) serves(labels map[string]string) bool {
	if f.Mutating == nil {
		return true
	}
	serves, err := webhook.Served(f.Mutating)
	return err != nil || serves(labels)
}
