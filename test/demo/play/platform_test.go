package play

import (
	"strings"
	"testing"
)

func TestInTheWay(t *testing.T) {
	for _, c := range []struct {
		name     string
		on       standing
		demo     string
		platform bool
	}{
		{"an empty cluster", standing{}, "", false},
		{"the same demo", standing{demo: "edge", trustDomain: "quickstart.spire.io"}, "", false},
		{"the same, stopped before its platform was there", standing{demo: "edge"}, "", false},
		{"the same under another trust domain", standing{demo: "edge", trustDomain: "example.org"}, "", true},
		{"another demo", standing{demo: "api", trustDomain: "example.org"}, "api", true},
		{"another demo of this trust domain", standing{demo: "api", trustDomain: "quickstart.spire.io"}, "api", true},
		{"a platform of this trust domain", standing{trustDomain: "quickstart.spire.io"}, "", false},
		{"a platform of another", standing{trustDomain: "example.org"}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			demo, platform := c.on.inTheWay("edge", "quickstart.spire.io")
			if demo != c.demo || platform != c.platform {
				t.Errorf("got %q, %t, want %q, %t", demo, platform, c.demo, c.platform)
			}
		})
	}
}

func TestTrustDomainOf(t *testing.T) {
	got, err := trustDomainOf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: spire-server
data:
  config.yaml: "trustDomain: other.org"
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: spire-injector-config
data:
  config.yaml: |
    # the platform file
    trustDomain: example.org
    identity:
      templates: []
---
kind: Namespace
`)
	if got != "example.org" || err != nil {
		t.Errorf("got %q, %v, want example.org", got, err)
	}
	if _, err := trustDomainOf("kind: Namespace\n"); err == nil || !strings.Contains(err.Error(), "spire-injector-config") {
		t.Errorf("without a platform file: got %v, want an error that names it", err)
	}
}
