package offline

import (
	yamlv3 "go.yaml.in/yaml/v3"
)

// repeatsKeys says whether a document writes a key twice in one mapping. What a merge key (<<) brings is not written
// there: a key beside it takes its place.
func repeatsKeys(text []byte) bool {
	var document yamlv3.Node
	if yamlv3.Unmarshal(text, &document) != nil {
		return true // it is not known
	}
	return repeats(&document)
}

func repeats(node *yamlv3.Node) bool {
	seen := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yamlv3.MappingNode && i%2 == 0 {
			if child.Kind == yamlv3.ScalarNode && child.Tag != "!!merge" && seen[child.Value] {
				return true
			}
			seen[child.Value] = true
		}
		if repeats(child) { // an alias has no content of its own
			return true
		}
	}
	return false
}
