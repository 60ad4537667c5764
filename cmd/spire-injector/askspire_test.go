package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// What SPIRE's server says of an entry: that it is there, and on which nodes.
func TestRegistered(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString("example.org")
	cluster, err := registrar.NewCluster("demo-cluster", td)
	if err != nil {
		t.Fatal(err)
	}
	_, spire, stop := callingSPIRE(t, td)
	entryOf := func(name string) registrar.Entry {
		return cluster.WorkloadEntry(registrar.Workload{
			ID: spiffeid.RequireFromPath(td, "/ns/shop/"+name), Namespace: "shop", ServiceAccount: name, Container: "envoy",
		})
	}
	const first, second = "0f6e3ab0-0000-4000-8000-000000000001", "0f6e3ab0-0000-4000-8000-000000000002"
	api, batch, absent := entryOf("api"), entryOf("batch"), entryOf("absent")
	for _, e := range []registrar.Entry{
		api, cluster.NodeRow(registrar.IdentityHash(api.SPIFFEID), first), batch, cluster.ClusterRow(registrar.IdentityHash(batch.SPIFFEID)),
	} {
		if results, err := spire.CreateEntries(t.Context(), []registrar.Entry{e}); err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
	}
	said := registered(t.Context(), spire, cluster, map[string]string{"n1": first, "n2": second})
	if said.Err != nil || !said.Has(api.ID) || !said.Has(batch.ID) || said.Has(absent.ID) {
		t.Errorf("%v: %v, %v and %v", said.Err, said.Has(api.ID), said.Has(batch.ID), said.Has(absent.ID))
	}
	if row := cluster.NodeRow(registrar.IdentityHash(api.SPIFFEID), first); said.Has(row.ID) {
		t.Errorf("a row is taken for a workload's entry: %s", row.ID)
	}
	for _, test := range []struct {
		entry         registrar.Entry
		node          string
		placed, known bool
	}{
		{api, "n1", true, true},
		{api, "n2", false, true},
		{batch, "n1", true, true},
		{batch, "n2", true, true},
		{api, "n3", false, false},
	} {
		if placed, known := said.Placed(test.entry.ID, test.node); placed != test.placed && known || known != test.known {
			t.Errorf("%s on %s: %v, known %v", test.entry.SPIFFEID, test.node, placed, known)
		}
	}
	stop()
	if said := registered(t.Context(), spire, cluster, nil); said.Err == nil || said.Has != nil {
		t.Errorf("of a server that is away: %+v", said)
	}
}

// How SPIRE is called is known by the platform file alone, and of manifests it knows nothing.
func TestSPIREIsAskedOfAClusterAlone(t *testing.T) {
	t.Parallel()
	mesh := answers.NewMesh(answers.Facts{})
	for want, of := range map[string]answerFlags{"--config": {}, "got manifests": {files: []string{"x"}}} {
		var usage usageError
		if err := (spireFlags{ask: true}).askInto(t.Context(), mesh, of); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("expected a mistake of the caller with %q, got %v", want, err)
		}
	}
	dir := t.TempDir()
	manifest, config := filepath.Join(dir, "pod.yaml"), filepath.Join(dir, "config.yaml")
	for file, text := range map[string]string{
		manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: shop}\n", config: webhooktest.PlatformFile,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var errs strings.Builder
	if code := run([]string{"explain", "shop/api", "-f", manifest, "--config", config, "--spire"}, nil, io.Discard, &errs); code != 2 ||
		!strings.Contains(errs.String(), "--spire: expected a cluster") {
		t.Errorf("by the command: exit code %d, %s", code, errs.String())
	}
}
