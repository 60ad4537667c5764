package intent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// decodeStrictly reads one YAML or JSON document as the API machinery reads strictly: the names of fields as they
// are, each of them once, and none that is unknown. The error lists all unknown ones.
func decodeStrictly(data []byte, into any) error { return decodeWithin(data, unbounded, into) }

// decodeWithin is decodeStrictly of a document that is measured before more is made of it than a tree.
func decodeWithin(data []byte, check func(measured) error, into any) error {
	object, err := oneDocument(data, check)
	if err != nil {
		return err
	}
	unknown, err := kubejson.UnmarshalStrict(object, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: expected %s, got %s", cmp.Or(wrong.Field, "the value"), inYAML(wrong.Type), wrong.Value)
	}
	if err != nil || len(unknown) == 0 {
		return err
	}
	texts := make([]string, len(unknown))
	for i, err := range unknown {
		texts[i] = withHint(err, lastField(err), fieldNames(reflect.TypeOf(into))...).Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// lastField is the name of the field that an error about an unknown one is about, without the path to it.
func lastField(err error) string {
	_, path, _ := strings.Cut(strings.TrimSuffix(err.Error(), `"`), `"`)
	return path[strings.LastIndex(path, ".")+1:]
}

// fieldNames are the names of all fields that a value of the type may have, at any depth.
func fieldNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
		names = append(names, fieldNames(t.Field(i).Type)...)
	}
	return names
}

// decode reads a JSON value that is not a struct; an empty one is the zero value. The error says what is expected
// and what is written.
func decode[T any](raw json.RawMessage) (T, error) {
	var value T
	if len(raw) == 0 {
		return value, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		kind := reflect.TypeFor[T]().Kind()
		expected, hint := inYAML(reflect.TypeFor[T]()), ""
		if kind == reflect.Int {
			expected = "a whole number"
		}
		if kind == reflect.String && raw[0] != '[' && raw[0] != '{' {
			hint = "; write it in quotes"
		}
		return value, fmt.Errorf("expected %s, got %.60s%s", expected, raw, hint)
	}
	return value, nil
}

// inYAML names a type as people know it.
func inYAML(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a number"
	}
}

// measured is how large a document is.
type measured struct {
	bytes int // with its aliases written out
	items int // of its list, if it is one
}

// oneDocument returns a YAML document as JSON. A second one would go unread, and somebody wrote it for a purpose. check
// is asked before aliases are written out.
func oneDocument(data []byte, check func(measured) error) ([]byte, error) {
	documents := yamlv3.NewDecoder(bytes.NewReader(data))
	var node, another yamlv3.Node
	unread := documents.Decode(&node)
	if unread == nil {
		size := measured{bytes: writtenOut(&node, map[*yamlv3.Node]int{})}
		if root := node.Content[0]; root.Kind == yamlv3.SequenceNode {
			size.items = len(root.Content)
		}
		if err := check(size); err != nil {
			return nil, err
		}
	}
	object, err := yaml.YAMLToJSONStrict(data)
	switch {
	case err != nil:
		return nil, err
	case errors.Is(unread, io.EOF): // nothing is a document too
		return object, nil
	case unread != nil:
		return nil, unread // and not measured
	case !errors.Is(documents.Decode(&another), io.EOF):
		return nil, errors.New("expected one YAML document, got more after ---")
	}
	return object, nil
}

// unbounded is for documents of which nothing but aliases could be too much, and that have none: they were measured, or
// come from the platform.
func unbounded(measured) error { return nil }

// endless is more than any bound: what an alias inside of its own anchor says.
const endless = math.MaxInt32

// writtenOut is how many bytes a node has with its aliases written out: its texts, and one for each item. Its cost does
// not grow with what the aliases say, because each anchor is measured once.
func writtenOut(n *yamlv3.Node, anchors map[*yamlv3.Node]int) int {
	if n.Kind == yamlv3.AliasNode {
		return writtenOut(n.Alias, anchors)
	}
	if known, measured := anchors[n]; measured {
		return known
	}
	if n.Anchor != "" {
		anchors[n] = endless // while it is being measured
	}
	total := len(n.Value) + 1
	for _, item := range n.Content {
		total = min(total+writtenOut(item, anchors), endless)
	}
	if n.Anchor != "" {
		anchors[n] = total
	}
	return total
}
