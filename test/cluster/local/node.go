package local

import (
	"net/netip"
	"path/filepath"
	"strconv"
)

// node is one of a cluster's machines, counted from 1. The first has the control plane, and is where all others are
// linked to.
type node int

const (
	controlPlane node = 1
	// maxNodes is how many parts the pods' networks have.
	maxNodes = 4
)

func nodesOf(count int) []node {
	nodes := make([]node, count)
	for i := range nodes {
		nodes[i] = node(i + 1)
	}
	return nodes
}

func (n node) name() string { return "node" + strconv.Itoa(int(n)) }

// daemon names one of the node's daemons, and its log. Those of the first node are the cluster's and need no prefix.
func (n node) daemon(program string) string {
	if n == controlPlane {
		return program
	}
	return n.name() + "-" + program
}

// cgroup is the node's path below every mounted hierarchy.
func (n node) cgroup(cluster names) string {
	if n == controlPlane {
		return cluster.cgroup
	}
	return filepath.Join(cluster.cgroup, n.name())
}

// address is the node's own, of the family that every cluster has.
func (n node) address() netip.Addr { return ipv4.addressOf(n) }
