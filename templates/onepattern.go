package templates

import (
	"regexp"
	"slices"
	"strings"
)

// anyOf is one pattern for all names that begin as one of the given prefixes, where "*" stands for anything but a dot.
// What prefixes have in common is written once: the patterns one by one are six times as long.
func anyOf(prefixes []string) string {
	root := &nameSegments{}
	for _, prefix := range prefixes {
		root.add(strings.Split(prefix, "."))
	}
	return root.pattern() + ".*"
}

// nameSegments is what may follow a part of a name that ends with a dot, by the segment up to the next one.
type nameSegments struct {
	order []string // segments that are followed by others
	next  map[string]*nameSegments
	last  []string // segments that end a prefix, each once
}

func (n *nameSegments) add(segments []string) {
	first, rest := segments[0], segments[1:]
	if len(rest) == 0 {
		if !slices.Contains(n.last, first) {
			n.last = append(n.last, first)
		}
		return
	}
	if n.next == nil {
		n.next = map[string]*nameSegments{}
	}
	if n.next[first] == nil {
		n.next[first] = &nameSegments{}
		n.order = append(n.order, first)
	}
	n.next[first].add(rest)
}

// pattern puts segments together that are followed by the same, and with each those that are its only way on.
func (n *nameSegments) pattern() string {
	var ends []string
	before := map[string][]string{}
	for _, begin := range n.order {
		next := n.next[begin]
		for len(next.order) == 1 && len(next.last) == 0 {
			begin, next = begin+"."+next.order[0], next.next[next.order[0]]
		}
		end := `\.` + next.pattern()
		if before[end] == nil {
			ends = append(ends, end)
		}
		before[end] = append(before[end], begin)
	}
	var all []string
	for _, end := range ends {
		all = append(all, alternatives(before[end])+end)
	}
	if len(n.last) > 0 {
		all = append(all, alternatives(n.last))
	}
	if len(all) == 1 {
		return all[0]
	}
	return "(" + strings.Join(all, "|") + ")"
}

// alternatives is a pattern for any of the segments. It writes the beginning of those that begin alike once.
func alternatives(segments []string) string {
	if len(segments) == 1 {
		return segmentPattern(segments[0])
	}
	var begins []string
	byBegin := map[string][]string{}
	for _, segment := range segments {
		begin := segment[:min(1, len(segment))]
		if byBegin[begin] == nil {
			begins = append(begins, begin)
		}
		byBegin[begin] = append(byBegin[begin], segment)
	}
	var all []string
	for _, begin := range begins {
		alike := byBegin[begin]
		common := alike[0]
		for _, segment := range alike[1:] {
			common = common[:commonLength(common, segment)]
		}
		if len(alike) == 1 {
			all = append(all, segmentPattern(common))
			continue
		}
		rests := make([]string, len(alike))
		for i, segment := range alike {
			rests[i] = segment[len(common):]
		}
		all = append(all, segmentPattern(common)+alternatives(rests))
	}
	if len(all) == 1 {
		return all[0]
	}
	return "(" + strings.Join(all, "|") + ")"
}

func commonLength(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func segmentPattern(segment string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, `[^.]*`)
}
