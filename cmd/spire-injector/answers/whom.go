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
