package intent

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPlainPorts(t *testing.T) {
	for _, test := range []struct {
		text string
		want []uint16
		err  string
	}{
		{"9090", []uint16{9090}, ""},
		{"9090, 9100\n9090", []uint16{9090, 9100}, ""},
		{"", nil, "expected at least one port"},
		{"0", nil, "expected a port from 1 to 65535, got 0"},
		{"65536", nil, "expected a port from 1 to 65535, got 65536"},
		{"http", nil, `got "http"`},
		{"15021", nil, "port 15021 is the sidecar's own"},
		{strings.Repeat("9090 ", maxPlainPorts+1), nil, "expected at most 32 ports, got 33"},
	} {
		got, problems := plainPorts(test.text)
		switch {
		case test.err == "" && (len(problems) > 0 || !slices.Equal(got, test.want)):
			t.Errorf("%q: expected %v, got %v, %v", test.text, test.want, got, problems)
		case test.err != "" && (len(problems) == 0 || !strings.Contains(problems[0].err.Error(), test.err)):
			t.Errorf("%q: expected an error with %q, got %v", test.text, test.err, problems)
		}
	}
}

// What the platform would deny opens nothing, whoever has written it, and when.
func TestPlainPortsThatCount(t *testing.T) {
	required := map[string]string{LabelInject: InjectRequired}
	for _, test := range []struct {
		name     string
		platform Platform
		ns       Namespace
		pod      string
		want     []uint16
	}{
		{name: "none"},
		{name: "the pod's", pod: "9090", want: []uint16{9090}},
		{name: "the namespace's", ns: Namespace{Annotations: map[string]string{AnnotationPlainPorts: "9100"}}, want: []uint16{9100}},
		{name: "the pod's before the namespace's", pod: "9090",
			ns: Namespace{Annotations: map[string]string{AnnotationPlainPorts: "9100"}}, want: []uint16{9090}},
		{name: "locked", platform: Platform{Locked: []string{"plain-ports"}}, pod: "9090"},
		{name: "under required", ns: Namespace{Labels: required}, pod: "9090"},
		{name: "allowed under required", ns: Namespace{Labels: required}, pod: "9090",
			platform: Platform{AllowedExceptions: []Exception{ExceptionPlainPorts}}, want: []uint16{9090}},
		{name: "not understood", pod: "9090, http"},
	} {
		pod := &corev1.Pod{}
		if test.pod != "" {
			pod.Annotations = map[string]string{AnnotationPlainPorts: test.pod}
		}
		if got := test.platform.PlainPorts(test.ns, pod); !slices.Equal(got, test.want) {
			t.Errorf("%s: expected %v, got %v", test.name, test.want, got)
		}
	}
}
