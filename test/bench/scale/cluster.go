// Package scale simulates clusters of any size, without a machine of them, to see how the work of the registrar and of
// the rollout grows with them. Both are the code of the replicas; what is made up are the objects of the cluster and
// what SPIRE holds.
package scale

import (
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

// Size is how large a cluster is.
type Size struct {
	Nodes     int `json:"nodes"`
	Pods      int `json:"pods"`
	Workloads int `json:"workloads"`
}

const (
	// podsOnNode and workloadsOfNode make 20,000 pods of 5,000 workloads on 500 nodes.
	podsOnNode      = 40
	workloadsOfNode = 10
	replicas        = podsOnNode / workloadsOfNode
	// workloadsOfNamespace is how many share one.
	workloadsOfNamespace = 50
)

// Of is the size of a cluster of so many nodes; at least as many as a workload has replicas.
func Of(nodes int) Size {
	nodes = max(nodes, replicas)
	return Size{Nodes: nodes, Pods: nodes * podsOnNode, Workloads: nodes * workloadsOfNode}
}

// pod is one replica of a workload. The generation counts rollouts: a rollout makes another pod.
type pod struct{ workload, replica, generation int }

func (p pod) owner() registrar.Owner {
	name := fmt.Sprintf("workload-%d-%d-%d", p.workload, p.generation, p.replica)
	return registrar.Owner{Kind: registrar.KindPod, Namespace: namespaceOf(p.workload), Name: name}
}

// node is where the pod runs: the replicas of one generation on different nodes, and those of the next on others as far
// as there are any.
func (s Size) node(p pod) string {
	return nodeName((p.workload + p.replica + p.generation*replicas) % s.Nodes)
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

func nodeUID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

func namespaceOf(workload int) string {
	return fmt.Sprintf("namespace-%d", workload/workloadsOfNamespace)
}

// pods calls do with each pod of a generation, the replicas of one workload after each other.
func (s Size) pods(generation int, do func(pod)) {
	for w := range s.Workloads {
		for r := range replicas {
			do(pod{workload: w, replica: r, generation: generation})
		}
	}
}

// identities are those of a trust domain's workloads.
type identities struct {
	cluster registrar.Cluster
	ids     []spiffeid.ID
}

// needs are what the pod needs on a node.
func (i identities) needs(p pod, node string) registrar.Needs {
	id := i.ids[p.workload]
	return registrar.Needs{
		Workloads: []registrar.Workload{{ID: id, Namespace: namespaceOf(p.workload), ServiceAccount: "default"}},
		Identity:  registrar.IdentityHash(id),
		Node:      node,
	}
}

// newIdentities makes one for each workload, and some more for those that come during an experiment.
func newIdentities(workloads int) (identities, error) {
	td, err := spiffeid.TrustDomainFromString("example.org")
	if err != nil {
		return identities{}, err
	}
	cluster, err := registrar.NewCluster("demo-cluster", td)
	if err != nil {
		return identities{}, err
	}
	all := identities{cluster: cluster}
	for w := range workloads {
		id, err := spiffeid.FromPathf(td, "/ns/%s/workload-%d", namespaceOf(w), w)
		if err != nil {
			return identities{}, err
		}
		all.ids = append(all.ids, id)
	}
	return all, nil
}
