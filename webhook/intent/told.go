package intent

import "strings"

// toldPaths are the parts of the model that something is wrong with already. Its cost does not grow with their number:
// a pod may have many.
type toldPaths struct {
	exact map[string]bool
	above map[string]bool // those of which one is a part
}

// add notes a path such as "inbound[0].peers"; the empty one is none.
func (t *toldPaths) add(path string) {
	if path == "" {
		return
	}
	if t.exact == nil {
		t.exact, t.above = map[string]bool{}, map[string]bool{}
	}
	t.exact[path] = true
	for outer := outerPath(path); outer != ""; outer = outerPath(outer) {
		t.above[outer] = true
	}
}

// about says whether something is wrong with a part of the model, with what it is part of, or with a part of it.
func (t *toldPaths) about(path string) bool {
	if t.above[path] {
		return true
	}
	for ; path != ""; path = outerPath(path) {
		if t.exact[path] {
			return true
		}
	}
	return false
}

// outerPath is what a part is part of, empty for the outermost.
func outerPath(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
