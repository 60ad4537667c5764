package answers

import "slices"

// mostAsked bounds the Envoys that a look over a cluster asks something.
const mostAsked = 100

// Unready are pods whose Envoy runs and that are not ready: some of them if they are many.
func (f Facts) Unready() []Pod {
	var out []Pod
	for _, pod := range f.Pods {
		if pod.runsEnvoy() && !pod.ready() && len(out) < mostAsked {
			out = append(out, pod)
		}
	}
	return out
}

// OfEachNode are pods whose Envoy runs, the first of each node before the second of any: agents fetch SVIDs for all pods
// of their node.
func (f Facts) OfEachNode() []Pod {
	seen := map[string]int{}
	rounds := map[int][]Pod{}
	most := 0
	for _, pod := range f.Pods {
		if !pod.runsEnvoy() {
			continue
		}
		n := seen[pod.Spec.NodeName]
		seen[pod.Spec.NodeName]++
		rounds[n] = append(rounds[n], pod)
		most = max(most, n)
	}
	var out []Pod
	for n := 0; n <= most && len(out) < mostAsked; n++ {
		out = slices.Concat(out, rounds[n])
	}
	return out[:min(len(out), mostAsked)]
}

// mostListed bounds the Envoys that a list asks.
const mostListed = 300

// OfEachWorkload are pods of a namespace's workloads, or of all for the empty one, whose Envoy runs: the first of each
// kind, the unready ones before others.
func (m *Mesh) OfEachWorkload(namespace string) []Pod {
	var out []Pod
	for _, w := range m.Workloads {
		if namespace != "" && w.Namespace != namespace {
			continue
		}
		for _, g := range w.Groups {
			of := -1
			for i, pod := range g.Pods {
				if pod.runsEnvoy() && (of < 0 || g.Pods[of].ready() && !pod.ready()) {
					of = i
				}
			}
			if of >= 0 && len(out) < mostListed {
				out = append(out, g.Pods[of])
			}
		}
	}
	return out
}
