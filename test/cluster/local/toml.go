package local

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// table is a TOML table: strings, numbers, booleans and further tables. containerd's configuration needs no more.
type table map[string]any

// encodeTOML writes t, values before tables and both in the order of their keys.
func encodeTOML(t table) (string, error) {
	var b strings.Builder
	err := encodeTable(&b, nil, t)
	return b.String(), err
}

func encodeTable(b *strings.Builder, path []string, t table) error {
	keys := slices.Sorted(maps.Keys(t))
	for _, k := range keys {
		switch v := t[k].(type) {
		case table:
		case string:
			fmt.Fprintf(b, "%s = %s\n", strconv.Quote(k), strconv.Quote(v))
		case bool, int:
			fmt.Fprintf(b, "%s = %v\n", strconv.Quote(k), v)
		default:
			return fmt.Errorf("toml: %s has a %T: expected a string, bool, int or table", strings.Join(append(path, k), "."), v)
		}
	}
	for _, k := range keys {
		sub, ok := t[k].(table)
		if !ok {
			continue
		}
		quoted := append(slices.Clone(path), strconv.Quote(k))
		fmt.Fprintf(b, "\n[%s]\n", strings.Join(quoted, "."))
		if err := encodeTable(b, quoted, sub); err != nil {
			return err
		}
	}
	return nil
}
