package inject

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// People find each key of the status in webhook/README.md.
func TestStatusIsDocumented(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(prefix string, of reflect.Type)
	check = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if of.Field(i).Type == reflect.TypeFor[*EnvoyStatus]() {
				check(key+".", reflect.TypeFor[EnvoyStatus]())
			} else if !strings.Contains(string(readme), "`"+prefix+key+"`") {
				t.Errorf("webhook/README.md does not say what %s%s is", prefix, key)
			}
		}
	}
	check("", reflect.TypeFor[Status]())
}
