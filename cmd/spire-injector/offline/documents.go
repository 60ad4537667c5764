package offline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// document is one YAML document of the input.
type document struct {
	number int    // from 1, for messages
	text   []byte // as it was written
	json   []byte // the same as JSON; nil when it holds nothing
	header header
}

// header is what all Kubernetes objects have.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Namespace    string            `json:"namespace"`
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
	} `json:"metadata"`
}

func (d document) String() string {
	name := d.header.Metadata.Name
	if name == "" {
		name = d.header.Metadata.GenerateName
	}
	return fmt.Sprintf("document %d (%s %s)", d.number, d.header.Kind, name)
}

// split reads the documents of a YAML stream.
func split(input []byte) ([]document, error) {
	var docs []document
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(input)))
	for number := 1; ; number++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		d := document{number: number, text: text}
		if d.json, err = yaml.YAMLToJSONStrict(text); err != nil {
			return nil, fmt.Errorf("document %d: expected a Kubernetes object in YAML or JSON: %w", number, err)
		}
		if string(d.json) == "null" {
			d.json = nil
			docs = append(docs, d)
			continue
		}
		if err := json.Unmarshal(d.json, &d.header); err != nil {
			return nil, fmt.Errorf("document %d: expected a Kubernetes object: %w", number, err)
		}
		docs = append(docs, d)
	}
}
