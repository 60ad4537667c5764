package ir

import (
	"strings"
	"testing"
)

func TestParseApp(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{ // the spelling, or part of the error
		"127.0.0.1:8080":          "127.0.0.1:8080",
		"[::1]:8080":              "[::1]:8080",
		"[0:0:0:0:0:0:0:1]:65535": "[::1]:65535",
		"127.0.0.2:1":             "127.0.0.2:1",
		"podIP:8080":              "podIP:8080",
		"8080":                    `expected a port on 127.0.0.1 such as 8080, or an address such as "[::1]:8080" or "podIP:8080", got "8080"`,
		"":                        `got ""`,
		"podIP":                   `got "podIP"`,
		"podIP:0":                 "the port is from 1 to 65535",
		"podIP:65536":             "the port is from 1 to 65535",
		"podIP:http":              "the port is from 1 to 65535",
		"::1:8080":                `got "::1:8080"`,
		"10.0.0.7:8080":           "an app is in its own pod",
		"0.0.0.0:8080":            "an app is in its own pod",
		"[::]:8080":               "an app is in its own pod",
		"[::1%lo]:8080":           "an app is in its own pod",
		"[::ffff:127.0.0.1]:8080": "an app is in its own pod",
		"localhost:8080":          "an app is in its own pod",
		"podip:8080":              "an app is in its own pod",
	} {
		host, port, err := ParseApp(s)
		switch {
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%q: expected %q, got %v", s, want, err)
		case err == nil && host.With(port) != want:
			t.Errorf("%q: expected %s, got %s", s, want, host.With(port))
		case err == nil && !host.valid():
			t.Errorf("%q: %q is not valid", s, host)
		}
	}
	for _, host := range []AppHost{"127.0.0.1", "10.0.0.7", "localhost", "0:0:0:0:0:0:0:1"} {
		if host.valid() {
			t.Errorf("%q is valid", host)
		}
	}
}
