package scene

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Manifest is the part of a workload's manifest that is about its identity, as the user wrote it.
type Manifest struct {
	// Path from the project's top folder.
	Path string `json:"path"`
	// Lines is how many the whole file has.
	Lines int `json:"lines"`
	// Excerpt is the labels and annotations of the pod template.
	Excerpt string `json:"excerpt"`
}

// Manifests reads the manifests of workloads, of which each is the first document of a file, given from the project's
// top folder.
func (s Scene) Manifests(paths ...string) ([]Manifest, error) {
	var out []Manifest
	for _, path := range paths {
		text, err := s.Read(path)
		if err != nil {
			return nil, err
		}
		excerpt, err := podMetadata([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, Manifest{Path: path, Lines: Lines(text), Excerpt: excerpt})
	}
	return out, nil
}

// Read is the text of a file that is given from the project's top folder.
func (s Scene) Read(path string) (string, error) {
	data, err := os.ReadFile(s.Path(path))
	return string(data), err
}

// Lines counts those of a file's text.
func Lines(text string) int { return strings.Count(text, "\n") }

// podMetadata is the text of spec.template.metadata in the first document of a file, as it is written there.
func podMetadata(file []byte) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(file, &document); err != nil {
		return "", err
	}
	if len(document.Content) == 0 {
		return "", errors.New("expected a workload, got an empty document")
	}
	template, _, err := child(document.Content[0], "spec", "template")
	if err != nil {
		return "", err
	}
	first, last, err := child(template, "metadata")
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(string(file), "\n")
	if last == 0 || last > len(lines) {
		last = len(lines)
	}
	return dedent(lines[first.Line-1 : last-1]), nil
}

// child follows keys down a mapping. It also returns the line, counted from 1, of the key that follows the last of
// them, or
// 0 if none does.
func child(node *yaml.Node, keys ...string) (value *yaml.Node, next int, err error) {
	for i, key := range keys {
		value, next = nil, 0
		for j := 0; j+1 < len(node.Content) && node.Kind == yaml.MappingNode; j += 2 {
			if node.Content[j].Value != key {
				continue
			}
			value = node.Content[j+1]
			if j+2 < len(node.Content) {
				next = node.Content[j+2].Line
			}
		}
		if value == nil {
			return nil, 0, fmt.Errorf("expected the field %s, found none", strings.Join(keys[:i+1], "."))
		}
		node = value
	}
	return value, next, nil
}

// dedent takes away the indentation that all lines share; the first line has the least.
func dedent(lines []string) string {
	var b strings.Builder
	margin := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	for _, line := range lines {
		b.WriteString(line[min(margin, len(line)-len(strings.TrimLeft(line, " "))):])
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
