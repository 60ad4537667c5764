package ir

import (
	"fmt"
	"strings"
)

// parseName reads a value of an enum by its name; "" is the default, its zero value. The error names the field and
// lists the names.
func parseName[E ~int](field string, names []string, s string) (E, error) {
	if s == "" {
		return 0, nil
	}
	for i, name := range names {
		if s == name {
			return E(i), nil
		}
	}
	return 0, fmt.Errorf("%s %q: expected one of %s", field, s, strings.Join(names, ", "))
}

// nameOf is the name of a value, or "field(7)" for one that no constant has.
func nameOf[E ~int](field string, names []string, e E) string {
	if !known(names, e) {
		return fmt.Sprintf("%s(%d)", field, int(e))
	}
	return names[e]
}

func known[E ~int](names []string, e E) bool { return e >= 0 && int(e) < len(names) }
