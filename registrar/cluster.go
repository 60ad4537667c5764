// Package registrar turns a workload's identity into SPIRE registration entries and sees to it that they exist.
//
// What an entry looks like, whether two entries agree, and what has to be done about a difference are pure functions of
// values ([Cluster.WorkloadEntry], [Entry.Converge], [Cluster.Plan], [Cluster.Diff]). What does I/O, [Registrar] at
// admission and [Reconciler] all the time, does it through the interfaces of api.go; the gRPC client behind them is in
// package spireapi.
package registrar

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// idPrefix starts the ID of every entry of ours. It must not be the cluster name: spire-controller-manager deletes
// what it does not know under its own prefix, which by default is just that.
const idPrefix = "spire-injector"

// maxClusterName keeps entry IDs, which hold the name, a hash and the UID of a node, below SPIRE's limit of 255
// characters, and the SPIFFE IDs of rows below the 255 characters of SPIRE's database column.
const maxClusterName = 128

// Scope is which agents are authorized for an identity.
type Scope string

// The scopes; the zero value is [ScopeNode].
const (
	// ScopeNode: those of the nodes that its pods run on.
	ScopeNode Scope = "node"
	// ScopeCluster: those of all nodes that the node selectors match.
	ScopeCluster Scope = "cluster"
)

// Cluster is the Kubernetes cluster whose workloads are registered. Make it with [NewCluster].
type Cluster struct {
	// Name distinguishes the clusters of one SPIRE server; it is part of every entry ID.
	Name string
	// TrustDomain is that of the SPIRE server, and of every identity registered here.
	TrustDomain spiffeid.TrustDomain
	// NodeSelectors are those by which the cluster's agents attest; never empty.
	NodeSelectors []Selector
	Scope         Scope
}

// NewCluster checks its arguments. Without node selectors the cluster's nodes are those that attest with
// k8s_psat under the cluster's name.
func NewCluster(name string, td spiffeid.TrustDomain, nodeSelectors ...Selector) (Cluster, error) {
	if name == "" || len(name) > maxClusterName || !isEntryID(name) || strings.Trim(name, ".") == "" {
		return Cluster{}, fmt.Errorf(
			"cluster name %q: expected 1 to %d of the characters A-Z a-z 0-9 . _ - (and not only dots), "+
				"because it is part of SPIFFE IDs and of entry IDs",
			name,
			maxClusterName,
		)
	}
	if td.IsZero() {
		return Cluster{}, fmt.Errorf("cluster %q: no trust domain: give the SPIRE server's", name)
	}
	if len(nodeSelectors) == 0 {
		nodeSelectors = []Selector{{Type: "k8s_psat", Value: "cluster:" + name}}
	}
	for _, s := range nodeSelectors {
		if err := s.validate(); err != nil {
			return Cluster{}, fmt.Errorf("cluster %q: node selector: %w", name, err)
		}
	}
	return Cluster{Name: name, TrustDomain: td, NodeSelectors: sortedSet(nodeSelectors, Selector.compare)}, nil
}

// serverPath is that of every SPIRE server's ID.
const serverPath = "/spire/server"

// ServerID is the SPIFFE ID of the trust domain's SPIRE server, the parent of rows.
func (c Cluster) ServerID() spiffeid.ID { return c.id("spire", "server") }

// id cannot fail on what NewCluster has accepted; the zero ID of a Cluster made by hand is refused when its
// entries are validated.
func (c Cluster) id(segments ...string) spiffeid.ID {
	id, err := spiffeid.FromSegments(c.TrustDomain, segments...)
	if err != nil {
		return spiffeid.ID{}
	}
	return id
}
