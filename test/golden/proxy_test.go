package golden

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// defaults stand in the place of long values that most proxies have.
var defaults = map[string]any{"templates.DefaultStatistics()": ir.DefaultStatistics()}

// describe writes a proxy, which is all that templates.Generate is told, as JSON: each field in its order unless it is
// zero, and what has a spelling of its own in that.
func describe(v reflect.Value) string {
	for name, value := range defaults {
		if reflect.DeepEqual(v.Interface(), value) {
			return quote(name)
		}
	}
	if spelled, ok := v.Interface().(fmt.Stringer); ok {
		return quote(spelled.String())
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for field, value := range v.Fields() {
			if !value.IsZero() {
				parts = append(parts, quote(field.Name)+":"+describe(value))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, describe(v.Index(i)))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case reflect.String:
		return quote(v.String())
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Interface:
		panic(fmt.Sprintf("%s in a proxy has no description", v.Type()))
	default:
		return fmt.Sprint(v.Interface())
	}
}

func quote(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string has an encoding
	}
	return string(out)
}
