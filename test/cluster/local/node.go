package local

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// node is one of a cluster's machines, counted from 1. The first has the control plane, and is where all others are
// linked to.
type node int

const (
	controlPlane node = 1
	// maxNodes is how many parts of nodeBits the pods' network has.
	maxNodes = 4
	nodeBits = 18
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

// pods is the network of the node's pods.
func (n node) pods() netip.Prefix {
	a := podNetwork.Addr().As4()
	part := (uint32(n) - 1) << (32 - nodeBits) //nolint:gosec // 1 to maxNodes
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+part)
	return netip.PrefixFrom(netip.AddrFrom4(a), nodeBits)
}

// address is the node's own: that of its bridge, so that pods and daemons reach it alike.
func (n node) address() netip.Addr { return n.pods().Addr().Next() }

// firstPod leaves addresses below it for the node.
func (n node) firstPod() netip.Addr {
	a := n.pods().Addr().As4()
	a[3] = 10
	return netip.AddrFrom4(a)
}

// counted sets how many nodes the cluster has or shall have: those that are asked for, those that it was started with,
// or one.
func (c cluster) counted(wanted int) (cluster, error) {
	if wanted < 0 || wanted > maxNodes {
		return cluster{}, fmt.Errorf("%d nodes: expected 1 to %d", wanted, maxNodes)
	}
	c.nodes = nodesOf(cmp.Or(wanted, recordedNodes(c.layout), 1))
	return c, nil
}

// recordedNodes is how many nodes a cluster was started with, or 0 if there is no record or only a broken one.
func recordedNodes(l layout) (count int) {
	data, err := os.ReadFile(l.nodeCount())
	if err != nil || json.Unmarshal(data, &count) != nil || count < 1 || count > maxNodes {
		return 0
	}
	return count
}
