package answers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Whether entries are in SPIRE and on the pods' nodes is told by pod, and what is not known is not guessed.
func TestEntriesInSPIRE(t *testing.T) {
	t.Parallel()
	const yes = true
	known := func(placed bool) func(string, string) (bool, bool) {
		return func(string, string) (bool, bool) { return placed, true }
	}
	has := func(is bool) func(string) bool { return func(string) bool { return is } }
	const twoOfAPI = `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata:
      labels: {app: api, spiffe.io/inject: enabled}
      annotations: {spiffe.io/spiffe-id: /ns/shop/api, spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /ns/shop/web}
    spec: {containers: [{name: api, image: api}]}`
	for name, test := range map[string]struct {
		spire *Registered
		want  []string
	}{
		"not asked": {nil, []string{"ok entry registered at admission as spire-injector.demo-cluster.", "SPIRE itself was not asked"}},
		"no answer": {&Registered{Err: errors.New("connection refused")}, []string{
			"ok entry registered at admission as spire-injector.demo-cluster.", "unknown entry SPIRE did not answer: connection refused",
		}},
		"there":  {&Registered{Has: has(yes), Placed: known(yes)}, []string{"ok entry in SPIRE as spire-injector.demo-cluster.", "and on the 2 pods' nodes"}},
		"absent": {&Registered{Has: has(false), Placed: known(false)}, []string{"fails entry SPIRE has no entry spire-injector.demo-cluster.", "which api-"}},
		"on another node": {&Registered{Has: has(yes), Placed: func(_, node string) (bool, bool) { return node == "n0", true }}, []string{
			"fails entry SPIRE has the entry spire-injector.demo-cluster.", "does not let the agent of n1 have it, where api-",
		}},
		"node unread": {&Registered{Has: has(yes), Placed: func(string, string) (bool, bool) { return false, false }}, []string{
			"unknown entry spire-injector.demo-cluster.", "node n0 could not be read",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewMesh(gathered(t, live(t, twoOfAPI)))
			for i := range m.Pods {
				m.Pods[i].Spec.NodeName = fmt.Sprintf("n%d", i)
			}
			m = NewMesh(m.Facts)
			m.SPIRE = test.spire
			e, err := m.Explain("shop/api", "")
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, s := range e.Steps {
				if s.Check == checkEntry {
					lines = append(lines, string(s.Status)+" entry "+s.Found)
					if s.Status == Fails && s.Remedy == "" {
						t.Error("no remedy")
					}
				}
			}
			text := strings.Join(lines, "\n")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("expected %q, got\n%s", want, text)
				}
			}
			if len(lines) == 0 || e.Passes != !strings.Contains(text, "fails") {
				t.Errorf("passes: %t\n%s", e.Passes, text)
			}
		})
	}
}
