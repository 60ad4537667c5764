package inject

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// namesPart leads the names that the app calls to Envoy, by the pod's own table of hosts, which every resolver reads before
// it asks DNS.
var namesPart = part{
	mistakes: nameMistakes,
	wanted:   func(i injection) bool { return len(i.aliases()) > 0 },
	add: func(i injection, pod *corev1.Pod) {
		for _, alias := range i.aliases() {
			pod.Spec.HostAliases = append(pod.Spec.HostAliases, alias)
			i.status.HostAliases = append(i.status.HostAliases, alias.IP)
		}
	},
	remove: func(pod *corev1.Pod, was Status) {
		pod.Spec.HostAliases = slices.DeleteFunc(pod.Spec.HostAliases, func(a corev1.HostAlias) bool {
			return slices.Contains(was.HostAliases, a.IP)
		})
		if len(pod.Spec.HostAliases) == 0 {
			pod.Spec.HostAliases = nil
		}
	},
	same: sameAliases,
}

// aliases are those of the names that the app calls.
func (i injection) aliases() []corev1.HostAlias {
	if !i.intent.Mode.Envoy() {
		return nil
	}
	var out []corev1.HostAlias
	for _, host := range i.intent.Proxy.NamedHosts() {
		out = append(out, corev1.HostAlias{IP: host.IP, Hostnames: host.Name.Spellings()})
	}
	return out
}

// nameMistakes find aliases of the user's for a name that leads to Envoy: some resolvers take the first, others all. And
// the API server takes each address once.
func nameMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	ours := i.aliases()
	for n, alias := range pod.Spec.HostAliases {
		for _, our := range ours {
			if alias.IP == our.IP {
				mistakes = append(mistakes, intent.Mistake{
					Where: fmt.Sprintf("spec.hostAliases[%d].ip", n),
					What: fmt.Sprintf("%s stands for %s, which leads to Envoy by annotation %s",
						alias.IP, our.Hostnames[len(our.Hostnames)-1], intent.AnnotationUpstreams),
					Hint: "write another address of loopback",
				})
			}
			for h, name := range alias.Hostnames {
				if slices.ContainsFunc(our.Hostnames, func(s string) bool { return strings.EqualFold(s, name) }) {
					mistakes = append(mistakes, intent.Mistake{
						Where: fmt.Sprintf("spec.hostAliases[%d].hostnames[%d]", n, h),
						What: fmt.Sprintf("%s leads to %s, and to Envoy by annotation %s: only one of them is possible",
							name, alias.IP, intent.AnnotationUpstreams),
						Hint: "remove it, and write the address in the upstream",
					})
				}
			}
		}
	}
	return mistakes
}

// sameAliases finds our aliases where they are not as injection wrote them, or where another one leads a name elsewhere.
func sameAliases(arrived, injected *corev1.Pod) []intent.Mistake {
	status := StatusOf(injected)
	for _, our := range injected.Spec.HostAliases {
		if !slices.Contains(status.HostAliases, our.IP) {
			continue
		}
		isOurs := func(a corev1.HostAlias) bool { return equality.Semantic.DeepEqual(a, our) }
		leadsElsewhere := func(a corev1.HostAlias) bool {
			return !isOurs(a) && slices.ContainsFunc(a.Hostnames, func(name string) bool {
				return slices.ContainsFunc(our.Hostnames, func(s string) bool { return strings.EqualFold(s, name) })
			})
		}
		if !slices.ContainsFunc(arrived.Spec.HostAliases, isOurs) || slices.ContainsFunc(arrived.Spec.HostAliases, leadsElsewhere) {
			return []intent.Mistake{isAltered("spec.hostAliases")}
		}
	}
	return nil
}

// loopbackAliases are the addresses of names in a copy of an injected pod that does not say what was injected.
func loopbackAliases(pod *corev1.Pod) []string {
	first := netip.MustParseAddr(ir.IPOfName(0))
	var ips []string
	for _, a := range pod.Spec.HostAliases {
		ip, err := netip.ParseAddr(a.IP)
		if err == nil && ip.IsLoopback() && ip.Is4() && !ip.Less(first) {
			ips = append(ips, a.IP)
		}
	}
	return ips
}

// patchHostAliases adds or removes whole aliases: of the user's none changes.
func patchHostAliases(ops []Operation, before, after []corev1.HostAlias) []Operation {
	return patchList(ops, "/spec/hostAliases", before, after, func(a corev1.HostAlias) string {
		return a.IP + " " + strings.Join(a.Hostnames, " ")
	})
}
