package intent

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// changed is the valid file with one change.
func changed(t *testing.T, before, after string) []byte {
	t.Helper()
	text := strings.Replace(platformText, before, after, 1)
	if text == platformText {
		t.Fatalf("the file has no %q, or the change is none", before)
	}
	return []byte(text)
}

// What is empty is as if it were not written.
func TestEmptyFieldsOfThePlatformFile(t *testing.T) {
	want := platform(t)
	for _, test := range []struct{ before, after string }{
		{"image: envoy", "image: envoy, metrics: null"},
		{"image: envoy", "image: envoy, resources: null, jwt: {resources: null}"},
		{"image: envoy", `image: envoy, logLevel: "", concurrency: 0, rollout: "", jwt: null`},
		{"sidecar:", `defaults: {inboundPort: 0, x509SVIDTTL: "", jwtSVIDTTL: "", drain: ""}` + "\nsidecar:"},
		{"sidecar:", "defaults: {allowedPeers: [], federatesWith: null}\nsidecar:"},
		{"sidecar:", "defaults:\nlocked: []\nforeignAnnotations:\nsidecar:"},
		{"identity:\n", "identity:\n  templates: []\n"},
		{"spire:\n", "spire:\n  onUnavailable: ''\n  nodeSelectors: []\n  federation: []\n"},
		{"hostPath:", "csi: '', hostPath:"},
	} {
		got, err := ParsePlatform(changed(t, test.before, test.after))
		if err != nil {
			t.Errorf("%s: %v", test.after, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: expected the same platform, got %+v", test.after, got)
		}
	}
}

// The section is the switch: its fields have defaults of their own.
func TestMetricsOfThePlatformFile(t *testing.T) {
	for written, want := range map[string]ir.Metrics{
		"{}":                    {Port: 15090, Include: ir.DefaultStatistics()},
		"{port: 0}":             {Port: 15090, Include: ir.DefaultStatistics()},
		"{port: 15091}":         {Port: 15091, Include: ir.DefaultStatistics()},
		"{include: []}":         {Port: 15090, Include: []string{}},
		"{include: [cluster.]}": {Port: 15090, Include: []string{"cluster."}},
	} {
		got, err := ParsePlatform(changed(t, "image: envoy", "image: envoy, metrics: "+written))
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if diff := cmp.Diff(want, got.Sidecar.Metrics); diff != "" {
			t.Errorf("%s (-want +got):\n%s", written, diff)
		}
	}
}

// What stands at a bound is still inside.
func TestBoundsOfThePlatformFile(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"spire:\n", federation("{" + aOrg + ", refresh: 24h}")},
		{"spire:\n", federation("{" + aOrg + ", refresh: 10s}")},
		{"spire-server.spire:8081", "spire-server.spire:65535"},
		{"image: envoy", "image: envoy, concurrency: 64"},
		{"image: envoy", "image: envoy, metrics: {port: 15020}"},
		{"image: envoy", "image: envoy, metrics: {port: 65535}"},
		{"sidecar:", "defaults: {inboundPort: 1, drain: 5m}\nsidecar:"},
		{"sidecar:", "defaults: {x509SVIDTTL: 10s, jwtSVIDTTL: 720h}\nsidecar:"},
	} {
		if _, err := ParsePlatform(changed(t, test.before, test.after)); err != nil {
			t.Errorf("%s: %v", test.after, err)
		}
	}
}

// A mistake is told once, at its field, and hides no other.
func TestMistakesOfThePlatformFileInOneAnswer(t *testing.T) {
	for _, test := range []struct{ name, before, after, want string }{
		{"misspelt version", "apiVersion:", "apiVerson:",
			"apiVerson: unknown field; did you mean \"apiVersion\"?\n" +
				`expected apiVersion injector.spiffe.io/v1alpha1 and kind InjectorConfig, got "" and "InjectorConfig"`},
		{"bad cluster name beside selectors", "clusterName: demo-cluster\nspire:\n",
			"clusterName: '.'\nspire:\n  nodeSelectors: [a:b]\n",
			`clusterName: cluster name ".": expected 1 to 128 of the characters A-Z a-z 0-9 . _ - (and not only dots), ` +
				"because it is part of SPIFFE IDs and of entry IDs"},
		{"no trust domain, and with it no cluster", "trustDomain: example.org", "trustDomain: Example.org",
			`trustDomain: expected a trust domain such as example.org, got "Example.org": trust domain characters are limited ` +
				"to lowercase letters, numbers, dots, dashes, and underscores"},
		{"a text for a section", "sidecar: {image: envoy}", "sidecar: envoy", `sidecar: expected an object, got "envoy"`},
		{"a text for a list of sections", "spire:\n", "spire:\n  federation: a.org\n",
			`spire.federation: expected a list, got "a.org"`},
		{"a text for an item", "spire:\n", "spire:\n  federation: [a.org]\n",
			`spire.federation[0]: expected an object, got "a.org"`},
		{"a list for an item", "sidecar:", "locked: [mode, [mode]]\nsidecar:", `locked[1]: expected a text, got ["mode"]`},
		{"a word of YAML", "image: envoy", "image: envoy, logLevel: off",
			"sidecar.logLevel: expected a text, got false; write it in quotes"},
		{"a text for a number", "image: envoy", "image: envoy, concurrency: '2'",
			`sidecar.concurrency: expected a whole number, got "2"`},
		{"a fraction", "image: envoy", "image: envoy, concurrency: 1.5",
			"sidecar.concurrency: expected a whole number, got 1.5"},
		{"a bad flag of a claim for nothing else", "paths: [/api]", "flags: [{}]",
			"identity.claims[0].flags[0]: expected a text, got {}"},
		{"an empty flag", "paths: [/api]", "flags: ['']",
			`identity.claims[0].flags[0]: expected downstream or admin, got ""`},
		{"a port that does not exist", "spire-server.spire:8081", "spire-server.spire:65536",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got "spire-server.spire:65536"`},
		{"a server without name", "spire-server.spire:8081", ":8081",
			`spire.server.address: expected unix:///path or host:port of the SPIRE server, got ":8081"`},
		{"a part of a second", "sidecar:", "defaults: {drain: 1500ms}\nsidecar:",
			`defaults.drain: expected whole seconds from 0s to 5m0s, got "1500ms"`},
		{"of two types", "clusterName: demo-cluster", "clusterName: 1\nlocked: x",
			"clusterName: expected a text, got 1; write it in quotes\n" + `locked: expected a list, got "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParsePlatform(changed(t, test.before, test.after))
			wantError(t, err, test.want)
		})
	}
	_, err := ParsePlatform([]byte("- a"))
	wantError(t, err, `expected an object, got ["a"]`)
}

func TestFederatesWithTwice(t *testing.T) {
	p, err := ParsePlatform(changed(t, "sidecar:", "defaults: {federatesWith: [a.org, b.org, a.org]}\nsidecar:"))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.FederatesWith) != 2 {
		t.Errorf("expected each trust domain once, got %v", p.FederatesWith)
	}
}

func TestCheckConcurrency(t *testing.T) {
	for n, want := range map[int]string{
		-1: "expected 1 to 64 worker threads, got -1",
		0:  "expected 1 to 64 worker threads, got 0",
		1:  "",
		64: "",
		65: "expected 1 to 64 worker threads, got 65",
	} {
		wantError(t, checkConcurrency(n), want)
	}
}
