package intent

import (
	"strings"
	"testing"
)

const platformText = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
identity:
  claims:
  - {namespaces: [demo], serviceAccounts: ["*"], paths: [/api]}
sidecar: {image: envoy}
`

func platform(t *testing.T) Platform {
	t.Helper()
	p, err := ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantErrorWith checks for a part of an error; "" wants none.
func wantErrorWith(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("expected no error, got %q", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("expected an error with %q, got %v", part, err)
	}
}
