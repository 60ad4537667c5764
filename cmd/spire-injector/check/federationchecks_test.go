package check

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// relatedTo are facts of a platform file with a relationship that is kept well.
func relatedTo(t *testing.T) Facts {
	t.Helper()
	f := healthy(t).gather(t)
	relate(&f, "auxiliary.org", "https_web", "")
	export(&f, "auxiliary.org", map[string]float64{
		"relationship_in_place": 1, "bundle_present": 1, "last_refresh_timestamp_seconds": float64(now().Add(-4 * time.Minute).Unix()), "refreshes_total": 7,
	})
	return f
}

// relate puts a relationship into the platform file.
func relate(f *Facts, td, profile, id string) {
	const section = "  federation:\n"
	if !strings.Contains(f.Platform.Text, section) {
		f.Platform.Text = strings.Replace(f.Platform.Text, "identity:\n", section+"identity:\n", 1)
	}
	text := "    - {trustDomain: " + td + ", bundleEndpoint: \"https://bundle." + td + "\", profile: " + profile + ", refresh: 5m"
	if id != "" {
		text += ", endpointSPIFFEID: " + id
	}
	f.Platform.Text = strings.Replace(f.Platform.Text, section, section+text+"}\n", 1)
}

// export sets the leader's metrics of a trust domain.
func export(f *Facts, td string, values map[string]float64) {
	for name, value := range values {
		name, labels := "spire_injector_federation_"+name, map[string]string{"trust_domain": td}
		if strings.HasSuffix(name, "_total") {
			labels["result"] = "success"
		}
		others := slices.DeleteFunc(f.Replicas[0].Metrics[name], func(s Sample) bool { return s.Labels["trust_domain"] == td })
		f.Replicas[0].Metrics[name] = append(others, Sample{labels, value})
	}
}

func TestFederation(t *testing.T) {
	t.Parallel()
	web := func(values map[string]float64) func(*Facts) {
		return func(f *Facts) { export(f, "auxiliary.org", values) }
	}
	without := func(entries float64) func(*Facts) {
		return func(f *Facts) {
			f.Replicas[0].Metrics["spire_injector_entries"] = []Sample{{map[string]string{"state": "without_bundle"}, entries}}
		}
	}
	annotate := func(f *Facts, ns, text string) {
		for i := range f.Namespaces {
			if f.Namespaces[i].Name == ns {
				f.Namespaces[i].Annotations = map[string]string{intent.AnnotationFederatesWith: text}
			}
		}
	}
	defaults := func(f *Facts, td string) {
		f.Platform.Text = strings.Replace(f.Platform.Text, "defaults:\n", "defaults:\n  federatesWith: ["+td+"]\n", 1)
	}
	for name, tt := range map[string]struct {
		change        func(*Facts)
		status        Status
		found, remedy string
	}{
		"all is well":     {func(*Facts) {}, OK, "auxiliary.org: the relationship is there, the bundle was fetched 4m ago", ""},
		"not yet fetched": {web(map[string]float64{"refreshes_total": 0}), OK, "auxiliary.org: the relationship and a bundle are there", ""},
		"not compared": {func(f *Facts) { delete(f.Replicas[0].Metrics, "spire_injector_federation_relationship_in_place") }, Warning,
			"the relationship with auxiliary.org has not been compared", "the leader's log"},
		"no relationship": {web(map[string]float64{"relationship_in_place": 0, "bundle_present": 0}), Error,
			"SPIRE does not have the relationship with auxiliary.org as the platform file says", `has to list auxiliary.org under "federation" in policy-data.json`},
		"no bundle": {web(map[string]float64{"bundle_present": 0}), Error,
			"SPIRE has no bundle of auxiliary.org", "look from the SPIRE server at https://bundle.auxiliary.org: "},
		"no first bundle": {func(f *Facts) {
			relate(f, "far.org", "https_spiffe", "spiffe://far.org/spire/server")
			export(f, "far.org", map[string]float64{"relationship_in_place": 1, "bundle_present": 0})
		}, Error, "SPIRE has no bundle of far.org", "spire-server bundle set -format spiffe -id spiffe://far.org -path FILE"},
		"no bundle of another's endpoint": {func(f *Facts) {
			relate(f, "far.org", "https_spiffe", "spiffe://near.org/spire/server")
			export(f, "far.org", map[string]float64{"relationship_in_place": 1, "bundle_present": 0})
		}, Error, "SPIRE has no bundle of far.org", "look from the SPIRE server at https://bundle.far.org: "},
		"stale": {web(map[string]float64{"last_refresh_timestamp_seconds": float64(now().Add(-16 * time.Minute).Unix())}), Warning,
			"the bundle of auxiliary.org has not been fetched for 16m", "look from the SPIRE server at https://bundle.auxiliary.org: "},
		"almost stale": {web(map[string]float64{"last_refresh_timestamp_seconds": float64(now().Add(-14 * time.Minute).Unix())}), OK, "fetched 14m ago", ""},

		"a default with a relationship":    {func(f *Facts) { defaults(f, "auxiliary.org"); without(1)(f) }, OK, "fetched 4m ago", ""},
		"a default that SPIRE knows":       {func(f *Facts) { defaults(f, "far.org") }, OK, "far.org, which defaults.federatesWith names, has no relationship in the platform file, and no entry", ""},
		"a default without a relationship": {func(f *Facts) { defaults(f, "far.org"); without(1)(f) }, Warning, "and 1 registration entry lacks a bundle", "if it has none of far.org"},
		"a namespace without": {func(f *Facts) { annotate(f, "shop", "auxiliary.org far.org"); without(2)(f) }, Warning,
			"Namespace shop: far.org, which namespace shop names, has no relationship in the platform file, and 2 registration entries lack a bundle", "correct the name"},
		"many namespaces without": {func(f *Facts) {
			defaults(f, "far.org")
			for _, ns := range []string{"a", "b", "c"} {
				f.Namespaces = append(f.Namespaces, corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
				annotate(f, ns, "far.org")
			}
			without(2)(f)
		}, Warning, "far.org, which defaults.federatesWith, namespace a, namespace b and 1 more name, has no relationship", ""},
		"a namespace that is not served": {func(f *Facts) { annotate(f, "kube-system", "far.org"); without(2)(f) }, OK, "fetched 4m ago", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := relatedTo(t)
			for i := range f.Namespaces { // as the API server labels them
				f.Namespaces[i].Labels = map[string]string{corev1.LabelMetadataName: f.Namespaces[i].Name}
			}
			tt.change(&f)
			findings := Judge(f)
			if !has(findings, "federation", tt.status, tt.found) {
				t.Fatalf("expected %s with %q, got %+v", tt.status, tt.found, findings)
			}
			complaints := 0
			for _, finding := range findings {
				if finding.Check == "federation" && finding.Status != OK {
					complaints++
					if finding.Expected == "" || !strings.Contains(finding.Remedy, tt.remedy) {
						t.Errorf("expected the remedy %q, got %+v", tt.remedy, finding)
					}
				}
			}
			if want := map[bool]int{true: 0, false: 1}[tt.status == OK]; complaints != want {
				t.Errorf("expected %d complaints, got %d: %+v", want, complaints, findings)
			}
		})
	}
}

// What entries lack is said once: by the domain, if it is known which.
func TestMissingBundlesAreSaidOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values map[string]float64 // of the leader's metrics
		said   bool
	}{
		"a relationship without bundle":  {map[string]float64{"bundle_present": 0}, false},
		"no relationship":                {map[string]float64{"relationship_in_place": 0}, false},
		"a domain that pods alone name":  {nil, true},
		"a bundle that has become stale": {map[string]float64{"last_refresh_timestamp_seconds": 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := relatedTo(t)
			export(&f, "auxiliary.org", maps.Clone(tt.values))
			f.Replicas[0].Metrics["spire_injector_entries"] = []Sample{{map[string]string{"state": "without_bundle"}, 2}}
			findings := Judge(f)
			if has(findings, "entries", Warning, "without a federated trust domain") != tt.said {
				t.Errorf("expected the entries to be counted: %t, got %+v", tt.said, findings)
			}
		})
	}
}
