package layout

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// commonKey is the one key of what documents have in common, and a key of none of them.
const commonKey = "common"

// worthwhile is how long a value is on a line, at least, for a name to be easier to read.
const worthwhile = 100

// Share lays out documents of which much is the same. A value that comes again, in the same document or in another one,
// stands in common, under a name that says what it is, and *name stands for it. [Whole] and [JSON] give a document back.
// Names depend on all documents, so that common and documents are written together.
func Share(documents map[string][]byte) (common []byte, laidOut map[string][]byte, err error) {
	s := sharer{times: map[string]int{}, shared: map[string]*yaml.Node{}, taken: map[string]bool{}}
	roots := map[string]*yaml.Node{}
	names := slices.Sorted(maps.Keys(documents))
	for _, name := range names {
		if roots[name], err = parse(documents[name]); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		s.count(roots[name])
	}
	laidOut = map[string][]byte{}
	for _, name := range names {
		if roots[name].Kind != yaml.MappingNode {
			return nil, nil, fmt.Errorf("%s: expected a mapping, got %s", name, documents[name])
		}
		laidOut[name] = below(s.replaceChildren(roots[name], ""))
	}
	common = below(object(commonKey, &yaml.Node{Kind: yaml.MappingNode, Content: s.common}))
	for name, document := range laidOut {
		back, err := JSON(Whole(common, document))
		if err != nil || !bytes.Equal(back, compact(roots[name])) {
			return nil, nil, errors.Join(fmt.Errorf("%s, laid out, would be another document: %s", name, document), err)
		}
	}
	return common, laidOut, nil
}

// Whole is a document of [Share] as it is read alone.
func Whole(common, document []byte) []byte { return slices.Concat(common, document) }

// withoutCommon is the document that was written after what it shares with others.
func withoutCommon(root *yaml.Node) *yaml.Node {
	if root.Kind != yaml.MappingNode || len(root.Content) == 0 || root.Content[0].Value != commonKey {
		return root
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: root.Content[2:]}
}

type sharer struct {
	times  map[string]int        // how often a value comes, by its JSON; what is inside of it counts the first time alone
	shared map[string]*yaml.Node // those in common, by their JSON
	taken  map[string]bool       // their names
	common []*yaml.Node          // names and values, each after those that it refers to
}

func (s *sharer) count(n *yaml.Node) {
	if len(n.Content) == 0 {
		return
	}
	text := string(compact(n))
	if s.times[text]++; s.times[text] > 1 {
		return
	}
	for _, child := range n.Content {
		s.count(child)
	}
}

// replace returns a node that stands for another one, which is found at a key.
func (s *sharer) replace(n *yaml.Node, key string) *yaml.Node {
	text := string(compact(n))
	if value := s.shared[text]; value != nil {
		return alias(value)
	}
	with := s.replaceChildren(n, key)
	if len(n.Content) == 0 || s.times[text] == 1 || len(flow(with)) < worthwhile {
		return with
	}
	with.Anchor = s.name(n, key)
	s.shared[text] = with
	s.common = append(s.common, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: with.Anchor}, with)
	return alias(with)
}

func (s *sharer) replaceChildren(n *yaml.Node, key string) *yaml.Node {
	with := *n
	with.Content = slices.Clone(n.Content)
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			with.Content[i] = s.replace(child, key)
		case i%2 == 1:
			with.Content[i] = s.replace(child, n.Content[i-1].Value)
		}
	}
	return &with
}

// name is one for a value that has none yet: its type's, its own, or its key's.
func (s *sharer) name(n *yaml.Node, key string) string {
	base := key
	if own := field(n, "name"); own != "" {
		base = own
	}
	if kind := typeName.FindStringSubmatch(field(n, "@type")); kind != nil {
		base = kind[2]
		if base == "Config" {
			base = kind[1]
		}
	}
	base = notInNames.ReplaceAllString(base, "_")
	name := base
	for n := 2; s.taken[name]; n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	s.taken[name] = true
	return name
}

var (
	// typeName is that of a message, after the package and its version.
	typeName   = regexp.MustCompile(`([a-z_]+)\.v\d+\.(\w+)$`)
	notInNames = regexp.MustCompile(`\W+`)
)

// field is a string of a mapping, or nothing.
func field(n *yaml.Node, key string) string {
	if n.Kind == yaml.MappingNode {
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Value == key {
				return pair[1].Value
			}
		}
	}
	return ""
}

func object(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value}}
}

func alias(value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.AliasNode, Value: value.Anchor, Alias: value}
}

// below lays out a mapping with its keys below each other, so that another one may stand before it.
func below(root *yaml.Node) []byte {
	var w writer
	w.pairs(root, 0)
	w.text("\n")
	return w.Bytes()
}
