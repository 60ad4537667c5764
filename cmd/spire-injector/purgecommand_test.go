package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// createOneOfEach has a SPIRE server have an entry of a cluster, and a relationship.
func createOneOfEach(t *testing.T, spire *spireapi.Client, cluster registrar.Cluster) (registrar.Entry, registrar.Relationship) {
	t.Helper()
	entry := cluster.NodeRow("abc", "0f6e3ab0-0000-4000-8000-000000000001")
	if results, err := spire.CreateEntries(t.Context(), []registrar.Entry{entry}); err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	far := registrar.Relationship{
		TrustDomain: spiffeid.RequireTrustDomainFromString("far.org"), BundleEndpointURL: "https://far.org", Profile: registrar.HTTPSWeb,
	}
	results, err := spire.CreateFederationRelationships(t.Context(), []registrar.Relationship{far})
	if err := errors.Join(append(results, err)...); err != nil {
		t.Fatal(err)
	}
	return entry, far
}

// The flags say what goes: entries and relationships, entries alone, or nothing.
func TestPurgeCommand(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString("example.org")
	server := spiretest.NewServer(td)
	address, stop := server.ServeUnix(t)
	t.Cleanup(stop)
	spire, err := spireapi.Dial(spireapi.Config{ServerAddress: address, TrustDomain: td})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spire.Close() })
	createOneOfEach(t, spire, registrar.Cluster{Name: "demo-cluster", TrustDomain: td})
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := strings.Replace(webhooktest.PlatformFile, `"spire-server.spire:8081"}`,
		`"`+address+`"}`+"\n  federation: [{trustDomain: far.org, bundleEndpoint: \"https://far.org\", profile: https_web, refresh: 5m}]", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		flag                   string
		entries, relationships int // that are left
	}{
		{"--dry-run", 1, 1},
		{"--keep-federation", 0, 1},
		{"--keep-federation=false", 0, 0},
	} {
		var out, errs strings.Builder
		if code := run([]string{"purge", "--force", "--config", config, step.flag}, nil, &out, &errs); code != 0 {
			t.Errorf("%s: exit code %d, %s", step.flag, code, errs.String())
		}
		if e, r := len(server.Entries()), len(server.Relationships()); e != step.entries || r != step.relationships {
			t.Errorf("%s: expected that %d entries and %d relationships are left, got %d and %d: %s",
				step.flag, step.entries, step.relationships, e, r, out.String())
		}
	}
}

// denying is a SPIRE server that takes calls and removes nothing.
type denying struct{ *spireapi.Client }

var errDenied = errors.New("denied")

func (denying) DeleteEntries(_ context.Context, ids []string) ([]error, error) {
	return denied(len(ids)), nil
}

func (denying) DeleteFederationRelationships(_ context.Context, tds []spiffeid.TrustDomain) ([]error, error) {
	return denied(len(tds)), nil
}

func denied(n int) []error {
	out := make([]error, n)
	for i := range out {
		out[i] = errDenied
	}
	return out
}

// What SPIRE does not remove is named, and is a failure.
func TestPurgeIsDenied(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString("example.org")
	_, spire, _ := callingSPIRE(t, td)
	cluster := registrar.Cluster{Name: "demo-cluster", TrustDomain: td}
	entry, far := createOneOfEach(t, spire, cluster)
	var out strings.Builder
	err := purge(t.Context(), &out, denying{spire}, cluster, false)
	want := "not removed: " + entry.ID + " (" + entry.SPIFFEID.String() + "): denied\nremoved 0 of 1 entries of cluster demo-cluster\n"
	if err == nil || out.String() != want {
		t.Errorf("expected a failure and %q, got %v and %q", want, err, out.String())
	}
	out.Reset()
	err = purgeFederation(t.Context(), &out, denying{spire}, []registrar.Federated{{Relationship: far}}, false)
	want = "not removed: federation with far.org: denied\nremoved 0 of 1 federation relationships\n"
	if err == nil || out.String() != want {
		t.Errorf("expected a failure and %q, got %v and %q", want, err, out.String())
	}
}
