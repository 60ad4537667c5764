package check

import "fmt"

// check is one thing that is looked at. It is not looked at without its sources.
type check struct {
	name  string
	needs []Source
	look  func(Facts) []Finding
}

// checks are all, in the order in which a cluster is put together. One that would only repeat what an earlier one
// finds says nothing.
func checks() []check {
	return []check{
		{"kubernetes", []Source{SourceVersion}, kubernetesVersion},
		{"spire-server", []Source{SourceWorkloads}, servers},
		{"spire-server-settings", []Source{SourceWorkloads, SourceInjector, SourcePlatform}, serverSettings},
		{"spire-agents", []Source{SourceWorkloads, SourceNodes, SourcePods}, agents},
		{"spire-agent-settings", []Source{SourceWorkloads, SourceInjector, SourcePlatform}, agentSettings},
		{"agent-socket", []Source{SourceWorkloads, SourceDrivers, SourceInjector, SourcePlatform}, agentSocket},
		{"other-spires", []Source{SourceWorkloads, SourceInjector, SourcePlatform}, otherSPIREs},
		{"spire-controller-manager", []Source{SourceWorkloads, SourceInjector, SourcePlatform}, managers},
		{"replicas", []Source{SourceInjector}, replicas},
		{"versions", []Source{SourceInjector}, versions},
		{"leader", []Source{SourceInjector, SourceLease}, leader},
		{"platform-file", []Source{SourceInjector, SourcePlatform}, platformFile},
		{"platform-in-force", []Source{SourceInjector, SourcePlatform}, platformInForce},
		{"claims", []Source{SourceInjector, SourcePlatform, SourceNamespaces}, claims},
		{"webhooks", []Source{SourceInjector, SourceWebhooks}, webhooks},
		{"excluded-namespaces", []Source{SourceInjector, SourceWebhooks, SourceNamespaces}, excludedNamespaces},
		{"policies", []Source{SourceVersion, SourceInjector, SourcePolicies}, policies},
		{"serving-certificate", []Source{SourceInjector}, servingCertificate},
		{"webhook-answers", []Source{SourceInjector, SourceTrial}, trial},
		{"own-svid", []Source{SourceInjector, SourcePlatform}, ownSVID},
		{"spire-calls", []Source{SourceInjector}, spireCalls},
		{"federation", []Source{SourceInjector, SourcePlatform, SourceNamespaces}, federation},
		{"entries", []Source{SourceInjector}, entries},
		{"reconciler", []Source{SourceInjector}, reconciler},
		{"rollout", []Source{SourceInjector}, rollout},
		{"dns", []Source{SourceDNS, SourceInjector, SourcePlatform}, dns},
		{"ip-family", []Source{SourceInjector, SourcePlatform}, ipFamily},
		{"network-policies", []Source{SourceInjector, SourcePlatform, SourcePolicies}, networkPolicies},
		{"app-ports", []Source{SourcePods, SourceNamespaces, SourceInjector, SourcePlatform}, appPorts},
		{"required", []Source{SourceRequired, SourceNamespaces, SourceInjector, SourcePlatform, SourceWebhooks}, requiredPods},
	}
}

// Judge makes findings of facts, in the order of the checks.
func Judge(f Facts) []Finding {
	f = f.ours()
	var out []Finding
	reported := map[Source]bool{}
	for _, c := range checks() {
		missing, unknown := Source(""), false
		for _, source := range c.needs {
			if f.Unread[source] != nil {
				missing, unknown = source, true
				break
			}
		}
		switch {
		case !unknown:
			for _, finding := range c.look(f) {
				finding.Check = c.name
				out = append(out, finding)
			}
		case !reported[missing]:
			reported[missing] = true
			finding := found(Error, "", "%s could not be read: %v", missing, f.Unread[missing]).
				expected("to read %s", missing).
				remedy("run the check as somebody who may read it; what depends on it is not checked")
			finding.Check = c.name
			out = append(out, finding)
		}
	}
	return out
}

// plural is a number with a noun.
func plural[N int | int32 | float64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%v %ss", n, noun)
}
