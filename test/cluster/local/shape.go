package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
)

// Shape is what clusters differ in.
type Shape struct {
	Nodes int `json:"nodes"`
	// DualStack is whether pods have an IPv6 address beside the IPv4 one, and Services can.
	DualStack bool `json:"dualStack"`
}

func (s Shape) words() string {
	if s.DualStack {
		return fmt.Sprintf("%d nodes and IPv6 beside IPv4", s.Nodes)
	}
	return fmt.Sprintf("%d nodes and IPv4 alone", s.Nodes)
}

// shaped sets what the cluster has or shall have: what is asked for, what it was started with, or one node of one family.
func (c cluster) shaped(o Options) (cluster, error) {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return cluster{}, fmt.Errorf("%d nodes: expected 1 to %d", o.Nodes, maxNodes)
	}
	recorded := recordedShape(c.layout)
	c.Shape = Shape{Nodes: cmp.Or(o.Nodes, recorded.Nodes, 1), DualStack: o.DualStack || recorded.DualStack}
	return c, nil
}

func (c cluster) nodes() []node { return nodesOf(c.Nodes) }

// recordedShape is what a cluster was started with, or nothing if there is no record or only a broken one.
func recordedShape(l layout) Shape {
	data, err := os.ReadFile(l.shapeRecord())
	var s Shape
	if err != nil || json.Unmarshal(data, &s) != nil || s.Nodes < 1 || s.Nodes > maxNodes {
		return Shape{}
	}
	return s
}
