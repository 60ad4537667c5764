package answers

import (
	"cmp"
	"fmt"
	"slices"
)

// Sizes of a picture, in pixels.
const (
	charWidth  = 8
	lineHeight = 18
	boxPadding = 10
	rowGap     = 22
	columnGap  = 190
	labelRise  = 7
)

// picture is a graph with places: callers to the left of whom they call.
type picture struct {
	Width, Height int
	Boxes         []box
	Arrows        []arrow
}

// box is a node.
type box struct {
	Node          Node
	X, Y          int
	Width, Height int
	Lines         []boxLine
}

type boxLine struct {
	X, Y int
	Text string
}

// arrow is an edge, from the right of one box to the left of another.
type arrow struct {
	Edge   Edge
	Number int
	Path   string
	X, Y   int // of its label
	Label  string
}

// Class is by which style sheets know it.
func (a arrow) Class() string {
	return "edge " + string(a.Edge.Agreement) + " " + string(a.Edge.Change)
}

// picture places a graph's nodes.
func (g Graph) picture() picture {
	ranks := g.ranks()
	order := make([]int, len(g.Nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(ranks[g.Nodes[a].ID], ranks[g.Nodes[b].ID]), cmp.Compare(g.Nodes[a].Namespace, g.Nodes[b].Namespace))
	})
	var p picture
	at := map[string]box{}
	x, y, rank, widest := boxPadding, boxPadding, 0, 0
	for _, i := range order {
		n := g.Nodes[i]
		if r := ranks[n.ID]; r != rank {
			x, y, rank, widest = x+widest+columnGap, boxPadding, r, 0
		}
		b := box{Node: n, X: x, Y: y}
		for l, text := range n.label(g.trustDomain) {
			b.Lines = append(b.Lines, boxLine{X: x + boxPadding, Y: y + boxPadding + lineHeight*l + lineHeight*2/3, Text: text})
			b.Width = max(b.Width, len([]rune(text))*charWidth+2*boxPadding)
		}
		b.Height = len(b.Lines)*lineHeight + 2*boxPadding - lineHeight/3
		p.Boxes, at[n.ID] = append(p.Boxes, b), b
		y += b.Height + rowGap
		widest = max(widest, b.Width)
		p.Width, p.Height = max(p.Width, x+b.Width+boxPadding), max(p.Height, y)
	}
	for i, e := range g.Edges {
		from, to := at[e.From], at[e.To]
		x1, y1, x2, y2 := from.X+from.Width, from.Y+from.Height/2, to.X, to.Y+to.Height/2
		bend, bow, at := max(columnGap/2, (x2-x1)/2), 0, 0.5
		if ranks[e.To] != ranks[e.From]+1 { // below the boxes of the columns between: three quarters of it in the middle
			bow = (max(from.Height, to.Height) + rowGap) * 2 / 3
		}
		if bow > 0 && x1 < x2 { // the label stands before those boxes
			at = columnGap / 3.0 / float64(x2-x1)
		}
		p.Arrows = append(p.Arrows, arrow{
			Edge:   e,
			Number: i,
			Path:   fmt.Sprintf("M%d,%d C%d,%d %d,%d %d,%d", x1, y1, x1+bend, y1+bow, x2-bend, y2+bow, x2, y2),
			X:      onCurve(at, x1, x1+bend, x2-bend, x2),
			Y:      onCurve(at, y1, y1+bow, y2+bow, y2) - labelRise,
			Label:  e.label(),
		})
		if x2 < x1 { // back to a caller: the bow needs room
			p.Width = max(p.Width, x1+columnGap)
		}
	}
	return p
}

// onCurve is a coordinate of a cubic Bézier curve, between 0 at its beginning and 1 at its end.
func onCurve(t float64, a, b, c, d int) int {
	u := 1 - t
	return int(u*u*u*float64(a) + 3*u*u*t*float64(b) + 3*u*t*t*float64(c) + t*t*t*float64(d))
}

// ranks are the columns of nodes: each right of its callers, but for calls that lead in a circle.
func (g Graph) ranks() map[string]int {
	calls := map[string][]string{}
	for _, e := range g.Edges {
		calls[e.From] = append(calls[e.From], e.To)
	}
	const open, done = 1, 2
	state := map[string]int{}
	var last []string // each before those that call it
	var visit func(id string)
	visit = func(id string) {
		state[id] = open
		for i, to := range calls[id] {
			switch state[to] {
			case open:
				calls[id][i] = "" // in a circle
			case done:
			default:
				visit(to)
			}
		}
		state[id] = done
		last = append(last, id)
	}
	for _, n := range g.Nodes {
		if state[n.ID] == 0 {
			visit(n.ID)
		}
	}
	ranks := map[string]int{}
	for _, id := range slices.Backward(last) {
		for _, to := range calls[id] {
			if to != "" {
				ranks[to] = max(ranks[to], ranks[id]+1)
			}
		}
	}
	return ranks
}
