package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"google.golang.org/grpc/codes"
)

// With the components injector-nodes only agents of labelled nodes may have the injector's own identity, and the injector
// starts and works there.
func TestDisruptiveNodesOfTheInjector(t *testing.T) {
	first, second := twoNodes(t)
	forTheInjector(t, first.name)
	agentsKeepKeysOnDisk(t) // and attest again, with the label
	mine, others := asAgentOf(t, first.name), asAgentOf(t, second.name)
	own := entries(t, injectorsOwn)
	if len(own) != 1 {
		t.Fatalf("expected one entry of the injector's own, got %+v", own)
	}
	wantAnswer := func(agent agentCaller, want codes.Code) {
		t.Helper()
		eventually(t, "the answer to the agent of "+agent.node, func() error {
			if x509, jwt := agent.gets(t, own[0].ID); x509 != want || jwt != want {
				return fmt.Errorf("expected %s, got %s for an X.509-SVID and %s for a JWT-SVID", want, x509, jwt)
			}
			return nil
		})
	}
	wantAnswer(others, codes.OK)

	const deployment = "deployment/spire-injector"
	patch, err := os.ReadFile(manifests("injector/components/injector-nodes/deployment.yaml"))
	must(t, err)
	k(t, "spire-injector", "patch", deployment, "--patch", string(patch))
	afterwards(t, "--namespace", "spire-injector", "rollout", "status", deployment, "--timeout", patience.String())
	afterwards(t, "--namespace", "spire-injector", "patch", deployment, "--type=json", "--patch", `[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]`)
	rollout(t, "spire-injector", deployment)
	must(t, updateEntries(t.Context(), "spire/components/injector-nodes/injector-entries.json"))
	t.Cleanup(func() {
		if err := updateEntries(context.Background(), "spire/base/injector-entries.json"); err != nil {
			t.Error(err)
		}
	})
	wantAnswer(others, codes.NotFound)
	wantAnswer(mine, codes.OK)

	k(t, "spire-injector", "rollout", "restart", deployment)
	rollout(t, "spire-injector", deployment)
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	awaitOK(t, ns, "deployment/valid")
	wantNothing(t, others, own[0].ID)
}

// forTheInjector labels a node, or --all, as those of the components injector-nodes, until the test ends.
func forTheInjector(t *testing.T, node string) {
	t.Helper()
	const label = "node-restriction.kubernetes.io/spire-injector"
	k(t, "", "label", "node", node, label+"=true")
	afterwards(t, "label", "node", node, label+"-")
}

// afterwards runs a command of kubectl when the test ends.
func afterwards(t *testing.T, args ...string) {
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), args...); err != nil {
			t.Error(err)
		}
	})
}

// updateEntries changes the entries that a file has, below manifests, as an operator does.
func updateEntries(ctx context.Context, file string) error {
	data, err := os.ReadFile(manifests(file))
	if err != nil {
		return err
	}
	_, err = shared.k.With(ctx, string(data), "--namespace", "spire", "exec", "--stdin", "spire-server-0", "--",
		"/opt/spire/bin/spire-server", "entry", "update", "-socketPath", "/run/spire/private/api.sock", "-data", "-")
	return err
}
