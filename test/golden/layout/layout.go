// Package layout writes JSON documents as YAML for reviewers: keys in the order of the document, and whatever fits into
// a line on one line. Nothing of the document is lost: [JSON] gives it back.
package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// width is how long lines become at most, but for a string that has no place to be cut.
const width = 150

// YAML lays out a document, which is JSON or YAML. It is an error if [JSON] would not give it back.
func YAML(document []byte) ([]byte, error) {
	root, err := parse(document)
	if err != nil {
		return nil, err
	}
	text := render(root)
	if again, err := parse(text); err != nil || !bytes.Equal(compact(root), compact(again)) {
		return nil, errors.Join(fmt.Errorf("laid out, the document would be another one: %s", text), err)
	}
	return text, nil
}

// JSON gives back the document that [YAML] or [Share] was given, compact.
func JSON(document []byte) ([]byte, error) {
	root, err := parse(document)
	if err != nil {
		return nil, err
	}
	return compact(withoutCommon(root)), nil
}

func parse(document []byte) (*yaml.Node, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if len(root.Content) != 1 {
		return nil, errors.New("expected a document, got nothing")
	}
	resolveKeys(root.Content[0])
	return root.Content[0], nil
}

// resolveKeys writes keys where aliases of them stand.
func resolveKeys(n *yaml.Node) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Kind == yaml.AliasNode {
			n.Content[i] = child.Alias
		}
		resolveKeys(child)
	}
}

func render(root *yaml.Node) []byte {
	var w writer
	w.block(root, 0)
	w.text("\n")
	return w.Bytes()
}

type writer struct{ bytes.Buffer }

// text appends to what is written. A buffer takes everything.
func (w *writer) text(s string) { _, _ = w.WriteString(s) }

// column is the length of the last line.
func (w *writer) column() int { return w.Len() - 1 - bytes.LastIndexByte(w.Bytes(), '\n') }

// space separates a value from the key or dash before it.
func (w *writer) space() {
	if w.column() > 0 {
		w.text(" ")
	}
}

// line begins a line, unless a dash has just begun it.
func (w *writer) line(indent int) {
	switch column := w.column(); {
	case w.Len() == 0:
	case column == indent-1 && bytes.HasSuffix(w.Bytes(), []byte("-")):
		w.text(" ")
	default:
		w.text("\n" + strings.Repeat(" ", indent))
	}
}

// block writes a node where the last line ends if it fits there, else below, at the indentation.
func (w *writer) block(n *yaml.Node, indent int) {
	text := flow(n)
	if n.Anchor != "" && w.column()+len(" ")+len(text) > width {
		w.space()
		w.text("&" + n.Anchor)
	}
	switch {
	case len(n.Content) == 0 || w.column()+len(" ")+len(text) <= width:
		w.space()
		w.text(cut(text, indent))
	case filled(n):
		w.fill(n, indent)
	case n.Kind == yaml.MappingNode:
		w.pairs(n, indent)
	default:
		for _, item := range n.Content {
			w.line(indent)
			w.text("-")
			w.block(item, indent+2)
		}
	}
}

// pairs writes the keys and values of a mapping below each other.
func (w *writer) pairs(n *yaml.Node, indent int) {
	for pair := range slices.Chunk(n.Content, 2) {
		w.line(indent)
		w.text(scalar(pair[0]) + ":")
		inner := indent + 2
		if pair[1].Kind == yaml.SequenceNode {
			inner = indent // the dashes are enough
		}
		w.block(pair[1], inner)
	}
}

// filled says whether a node is a sequence, or a mapping of many, of nothing but scalars.
func filled(n *yaml.Node) bool {
	const few = 5
	return (n.Kind == yaml.SequenceNode || len(n.Content) > 2*few) &&
		!slices.ContainsFunc(n.Content, func(child *yaml.Node) bool { return child.Kind != yaml.ScalarNode })
}

// fill writes the children of such a node on as many lines as they need.
func (w *writer) fill(n *yaml.Node, indent int) {
	begin, parts, end := children(n)
	w.space()
	w.text(begin)
	for i, part := range parts {
		if i < len(parts)-1 {
			part += ","
		}
		switch {
		case i == 0:
		case w.column()+len(" ")+len(part) > width:
			w.line(indent + 2)
		default:
			w.text(" ")
		}
		w.text(part)
	}
	w.text(end)
}

// flow is a node on one line.
func flow(n *yaml.Node) string {
	anchor := ""
	if n.Anchor != "" {
		anchor = "&" + n.Anchor + " "
	}
	if n.Kind == yaml.AliasNode {
		return "*" + n.Value
	}
	if n.Kind == yaml.ScalarNode {
		return anchor + scalar(n)
	}
	begin, parts, end := children(n)
	return anchor + begin + strings.Join(parts, ", ") + end
}

// children are those of a mapping or sequence, each on one line, and its brackets.
func children(n *yaml.Node) (begin string, parts []string, end string) {
	if n.Kind == yaml.MappingNode {
		for pair := range slices.Chunk(n.Content, 2) {
			parts = append(parts, scalar(pair[0])+": "+flow(pair[1]))
		}
		return "{", parts, "}"
	}
	for _, item := range n.Content {
		parts = append(parts, flow(item))
	}
	return "[", parts, "]"
}

// plain are strings that need no quotes, inside brackets neither.
var plain = regexp.MustCompile(`^([A-Za-z_/.$+<][\w/.$+<>%=()*-]*([: ][\w/.$+<>%=()*-]+)*|-{1,2}[a-z][a-z-]*|\d[\w.-]*)$`)

// scalar is one without children.
func scalar(n *yaml.Node) string {
	if n.ShortTag() != "!!str" || plain.MatchString(n.Value) && !otherType(n.Value) {
		return n.Value
	}
	return quoted(n.Value)
}

// otherType says whether YAML, 1.1 or 1.2, would take a plain string for something else.
func otherType(s string) bool {
	switch strings.ToLower(s) {
	case "y", "yes", "n", "no", "on", "off", "...", "<<":
		return true
	}
	return (&yaml.Node{Kind: yaml.ScalarNode, Value: s}).ShortTag() != "!!str"
}

// quoted is a string of JSON, which is one of YAML too.
func quoted(s string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		panic(err) // every string has an encoding
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// cut continues a quoted string on further lines where it is longer than one.
func cut(text string, indent int) string {
	var out strings.Builder
	for rest := []rune(text); ; {
		at := width - indent - 1
		if len(rest) <= at || text[0] != '"' {
			return out.String() + string(rest)
		}
		// An escape stays whole, and spaces that begin a line would be lost.
		for at > 1 && (rest[at-1] == '\\' || rest[at] == ' ') {
			at--
		}
		if at == 1 {
			return out.String() + string(rest)
		}
		out.WriteString(string(rest[:at]) + "\\\n" + strings.Repeat(" ", indent))
		rest = rest[at:]
	}
}

func compact(n *yaml.Node) []byte {
	var parts [][]byte
	switch n.Kind {
	case yaml.MappingNode:
		for pair := range slices.Chunk(n.Content, 2) {
			parts = append(parts, slices.Concat([]byte(quoted(pair[0].Value)), []byte(":"), compact(pair[1])))
		}
		return slices.Concat([]byte("{"), bytes.Join(parts, []byte(",")), []byte("}"))
	case yaml.SequenceNode:
		for _, item := range n.Content {
			parts = append(parts, compact(item))
		}
		return slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]"))
	case yaml.AliasNode:
		return compact(n.Alias)
	default:
		if n.ShortTag() == "!!str" {
			return []byte(quoted(n.Value))
		}
		return []byte(n.Value)
	}
}
