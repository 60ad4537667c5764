package intent

import (
	"strings"
	"testing"
)

// What SPIRE refuses is told before it is asked.
func TestDNSNames(t *testing.T) {
	label := func(n int) string { return strings.Repeat("a", n) }
	for name, want := range map[string]string{ // part of the error, empty for none
		"api.example.org":       "",
		"a":                     "",
		"1.2.3":                 "",
		label(63) + ".org":      "",
		"xn--bcher-kva.example": "",
		"a-b--c.example":        "",
		label(64) + ".org":      "labels of at most 63 characters",
		"ab--c.example":         "without hyphens in third and fourth place",

		"xn--a.example":                       "without hyphens in third and fourth place",
		"*.example.org":                       "RFC 1123",
		"API.example.org":                     "RFC 1123",
		"api.example.org.":                    "RFC 1123",
		strings.Repeat("a.", 127) + "example": "no more than 253",
	} {
		wantErrorWith(t, checkDNSName(name), want)
	}
}
