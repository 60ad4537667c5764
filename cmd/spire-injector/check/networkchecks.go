package check

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// addressesOf are those of a pod that are known.
func addressesOf(pod corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil {
			out = append(out, address)
		}
	}
	return out
}

// podIPsPath is what the Deployment gives replicas in a variable, by which they know which addresses pods have.
const podIPsPath = "status.podIPs"

// ipFamily compares the addresses on which sidecars listen with those that pods have: the injector's own stand for all.
func ipFamily(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	var has4, has6 bool
	for _, r := range f.Replicas {
		for _, address := range r.Addresses {
			has4, has6 = has4 || address.Is4(), has6 || address.Is6()
		}
	}
	have := map[[2]bool]string{{true, false}: "IPv4", {false, true}: "IPv6", {true, true}: "IPv4 and IPv6"}[[2]bool{has4, has6}]
	wrong := func(status Status, listening string) []Finding {
		return []Finding{found(status, "platform file, ipFamily", "pods have %s addresses, and sidecars listen on %s", have, listening).
			expected("sidecars to listen on what pods have").
			remedy("leave ipFamily out: then it is what the injector's own pod has. It counts for new pods")}
	}
	switch says := p.IPFamily; {
	case have == "":
		return []Finding{fine("", "the addresses of pods are not known yet")}
	case says == nil && has6 && !knowsAddresses(f):
		return []Finding{found(Warning, "Deployment "+f.Names.Namespace+"/"+Deployment,
			"pods have %s addresses, and replicas are not told: sidecars listen on IPv4", have).
			expected("a variable of %s, as in manifests/injector/base/deployment.yaml", podIPsPath).
			remedy("apply the Deployment of this version, or say ipFamily in the platform file")}
	case says == nil:
		return []Finding{fine("", "pods have %s addresses, on which sidecars listen", have)}
	case *says == ir.IPv4 && !has4:
		return wrong(Error, "IPv4 alone, where nobody calls them")
	case *says == ir.IPv4 && has6:
		return wrong(Warning, "IPv4 alone, so that nobody can call them by IPv6")
	case *says != ir.IPv4 && !has6:
		return wrong(Warning, says.String()+", with which Envoy does not start where the kernel has no IPv6")
	default:
		return []Finding{fine("", "pods have %s addresses, and sidecars listen on %s", have, says)}
	}
}

// knowsAddresses says whether replicas are told their addresses.
func knowsAddresses(f Facts) bool {
	if f.Injector == nil {
		return true // which is a finding of its own
	}
	c, ok := containerOf(f.Injector.Spec.Template.Spec)
	return !ok || slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool {
		return v.ValueFrom != nil && v.ValueFrom.FieldRef != nil && v.ValueFrom.FieldRef.FieldPath == podIPsPath
	})
}

// networkPolicies looks whether the leading replica keeps them, where it has to.
func networkPolicies(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	if !p.NetworkPolicies {
		return []Finding{fine("", "the injector keeps none, as the platform file has it")}
	}
	const where = "NetworkPolicies of identities"
	var out []Finding
	name := f.Settings.Webhooks + "-network-policies"
	for _, policy := range []string{name, name + "-excluded"} {
		if !slices.Contains(f.Policies[policy], policy) {
			out = append(out, found(Error, "ValidatingAdmissionPolicy "+policy, "there is none that denies").
				expected("the policies of manifests/injector/components/workload-network-policies, with their bindings").
				remedy("apply the component: they hold the injector to its own NetworkPolicies, and come with its rights"))
		}
	}
	byState := map[string]float64{}
	known := false
	for _, r := range f.answering() {
		for state, n := range r.Metrics.by("spire_injector_network_policies", "state") {
			byState[state] += n
			known = true
		}
	}
	events := func(why reason.Reason) string { return "kubectl get events -A --field-selector reason=" + why.String() }
	if n := byState["failed"]; n > 0 {
		out = append(out, found(Error, where, "%.0f could not be made, changed or removed", n).
			expected("what platform and pods ask for").remedy("%s", events(reason.NetworkPoliciesNotKept)))
	}
	if n := byState["left_out"]; n > 0 {
		out = append(out, found(Warning, where, "identities without one: %.0f", n).
			expected("one for each with an Envoy").remedy("%s: give pods without an Envoy another identity", events(reason.NetworkPolicyLeftOut)))
	}
	if !known && len(out) == 0 {
		return []Finding{fine(where, "the leader has not said how many there are")}
	}
	return orFine(out, fine(where, "%.0f are kept", byState["wanted"]))
}
