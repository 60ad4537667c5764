package check

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIPFamily(t *testing.T) {
	t.Parallel()
	four, six := netip.MustParseAddr("10.244.0.7"), netip.MustParseAddr("fd00::7")
	for _, test := range []struct {
		name      string
		addresses []netip.Addr
		says      string
		untold    bool // the Deployment does not tell replicas their addresses
		status    Status
		finding   string
	}{
		{name: "IPv4", addresses: []netip.Addr{four}, status: OK, finding: "pods have IPv4 addresses, on which sidecars listen"},
		{name: "both", addresses: []netip.Addr{four, six}, status: OK, finding: "pods have IPv4 and IPv6 addresses, on which"},
		{name: "none yet", status: OK, finding: "not known yet"},
		{name: "both, untold", addresses: []netip.Addr{four, six}, untold: true, status: Warning, finding: "replicas are not told"},
		{name: "IPv4, untold", addresses: []netip.Addr{four}, untold: true, status: OK, finding: "on which sidecars listen"},
		{name: "IPv6, said IPv4", addresses: []netip.Addr{six}, says: "IPv4", status: Error, finding: "where nobody calls them"},
		{name: "both, said IPv4", addresses: []netip.Addr{four, six}, says: "IPv4", status: Warning, finding: "nobody can call them by IPv6"},
		{name: "IPv4, said DualStack", addresses: []netip.Addr{four}, says: "DualStack", status: Warning, finding: "where the kernel has no IPv6"},
		{name: "IPv4, said IPv6", addresses: []netip.Addr{four}, says: "IPv6", status: Warning, finding: "where the kernel has no IPv6"},
		{name: "both, said DualStack", addresses: []netip.Addr{four, six}, says: "DualStack", status: OK, finding: "sidecars listen on DualStack"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t).gather(t)
			for i := range f.Replicas {
				f.Replicas[i].Addresses = test.addresses
			}
			if test.says != "" {
				f.Platform.Text = strings.Replace(f.Platform.Text, "\nspire:\n", "\nipFamily: "+test.says+"\nspire:\n", 1)
			}
			if test.untold {
				f.Injector.Spec.Template.Spec.Containers[0].Env = nil
			}
			if findings := Judge(f); !has(findings, "ip-family", test.status, test.finding) {
				t.Errorf("expected %s with %q, got %+v", test.status, test.finding, findings)
			}
		})
	}
}

func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	const name = "spire-injector-network-policies"
	bound := map[string][]string{name: {name}, name + "-excluded": {name + "-excluded"}}
	kept := func(state string, n float64) Sample { return Sample{map[string]string{"state": state}, n} }
	for _, test := range []struct {
		name     string
		policies map[string][]string
		samples  []Sample
		status   Status
		finding  string
	}{
		{"kept", bound, []Sample{kept("wanted", 3), kept("failed", 0), kept("left_out", 0)}, OK, "3 are kept"},
		{"a new leader", bound, nil, OK, "has not said"},
		{"without the component", nil, []Sample{kept("wanted", 3)}, Error, "there is none that denies"},
		{"a policy that does not deny", map[string][]string{name: {}, name + "-excluded": {name + "-excluded"}}, nil, Error, "there is none"},
		{"not allowed", bound, []Sample{kept("wanted", 3), kept("failed", 2)}, Error, "2 could not be made"},
		{"left out", bound, []Sample{kept("wanted", 3), kept("left_out", 1)}, Warning, "identities without one: 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t).gather(t)
			f.Platform.Text = strings.Replace(f.Platform.Text, "\nspire:\n", "\nnetworkPolicies: true\nspire:\n", 1)
			for policy, bindings := range test.policies {
				f.Policies[policy] = bindings
			}
			f.Replicas[0].Metrics["spire_injector_network_policies"] = test.samples
			if findings := Judge(f); !has(findings, "network-policies", test.status, test.finding) {
				t.Errorf("expected %s with %q, got %+v", test.status, test.finding, findings)
			}
		})
	}
}
