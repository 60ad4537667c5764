package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// document is one YAML document of the input. The input is, byte for byte, the markers and texts of its documents.
type document struct {
	number int    // from 1, for messages; documents that hold nothing are not counted
	marker []byte // the line that parts it from the one before, empty at the start of the input
	text   []byte // as it was written, up to the next marker
	json   []byte // the same as JSON; nil when it holds nothing but comments
	err    error  // that it cannot be read
	twice  error  // that a key is written twice, of which json has the last
}

// split reads the documents of a YAML stream.
func split(input []byte) []document {
	docs := cut(input)
	number := 0
	for i := range docs {
		d := &docs[i]
		object, twice, err := toJSON(d.text)
		if err == nil && object == nil {
			continue
		}
		number++
		d.number, d.json = number, object
		if twice != nil {
			d.twice = fmt.Errorf("document %d: expected each key once in what is injected: %w", number, twice)
		}
		if err != nil {
			d.err = fmt.Errorf("document %d: expected a Kubernetes object in YAML or JSON: %w", number, err)
		}
	}
	return docs
}

// cut finds the markers: a line that begins with --- or ... and holds nothing else but a comment. When text follows
// ---, the marker is these three bytes and the text belongs to the document.
func cut(input []byte) []document {
	docs := []document{{}}
	for line := range bytes.Lines(input) {
		d := &docs[len(docs)-1]
		marker, text := line[:0], line
		for _, m := range []string{"---", "..."} {
			rest, ok := bytes.CutPrefix(line, []byte(m))
			trimmed := bytes.TrimSpace(rest)
			switch {
			case !ok || len(rest) > 0 && !strings.ContainsRune(" \t\r\n", rune(rest[0])):
			case len(trimmed) == 0 || trimmed[0] == '#':
				marker, text = line, nil
			case m == "---":
				marker, text = line[:len(m)], rest
			}
		}
		if len(marker) == 0 {
			d.text = append(d.text, text...)
			continue
		}
		docs = append(docs, document{marker: marker, text: bytes.Clone(text)})
	}
	return docs
}

// toJSON returns nil for a text that holds nothing. As kubectl does it takes the last of keys that are written twice, and
// says that there are some.
func toJSON(text []byte) (object []byte, twice, err error) {
	// A YAML parser would stop silently at the end of the first of two JSON objects, and the second would not be injected.
	if trimmed := bytes.TrimSpace(text); bytes.HasPrefix(trimmed, []byte("{")) {
		stream := json.NewDecoder(bytes.NewReader(trimmed))
		var first json.RawMessage
		if stream.Decode(&first) == nil && stream.More() {
			return nil, nil, errors.New("more follows after the end of a JSON object; put --- on a line between two objects")
		}
	}
	object, err = yaml.YAMLToJSONStrict(text)
	if err != nil {
		loose, failed := yaml.YAMLToJSON(text)
		if failed != nil {
			return nil, nil, err
		}
		if object = loose; repeatsKeys(text) {
			twice = err
		}
	}
	if string(object) == "null" {
		return nil, nil, nil
	}
	return object, twice, nil
}
