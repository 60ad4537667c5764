package authorization

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/test/standalone"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The server's own configuration makes the injector an admin and turns the policy on. What needs a cluster is cut out
// of it.
func TestServerConfiguration(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "authorization-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := shared.ports.Free(t.Context())
	must(t, err)
	config := read(t, "spire/base/server.conf")
	for _, block := range []string{`  NodeAttestor .*?^  }`, `  Notifier .*?^  }`, `health_checks .*?^}`} {
		cut := regexp.MustCompile(`(?ms)^` + block + `\n`)
		if !cut.MatchString(config) {
			t.Fatalf("server.conf: found nothing like %s", block)
		}
		config = cut.ReplaceAllString(config, "")
	}
	config = strings.NewReplacer(
		"/run/spire/private", dir, "/run/spire/data", dir, "/etc/spire", manifest("spire/base"), `"8081"`, fmt.Sprintf(`"%d"`, port),
	).Replace(config)
	file := filepath.Join(dir, "server.conf")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	process, err := standalone.Start(shared.programs.SPIREServer, "run", "-config", file)
	must(t, err)
	t.Cleanup(process.Stop)
	api, err := grpc.NewClient("unix://"+filepath.Join(dir, "api.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = api.Close() })
	s := awaited(t, server{Server: &standalone.Server{Domain: spiffeid.RequireTrustDomainFromString(domain), Port: port, Process: process, API: api}})
	injector := s.as(t, injectorPath)
	must(t, create(t.Context(), injector, row(), ours()))
	if err := create(t.Context(), injector, changed(workload(hashed("x"), "/x"), func(e *types.Entry) { e.Admin = true })); !denied(err) {
		t.Errorf("create an admin: expected a denial, got: %v", err)
	}
}

// What the manifests say in several places is the same in all of them.
func TestManifestsAgree(t *testing.T) {
	t.Parallel()
	injector := shippedData(t, nil).Injectors[0]
	if want, got := "[server.conf, policy.rego, policy-data.json, ", read(t, "spire/base/kustomization.yaml"); !strings.Contains(got, want) {
		t.Errorf("kustomization.yaml of SPIRE: expected files: %s", want)
	}
	if diff := cmp.Diff(beside(t, read(t, "spire/base/server.conf"), "DataStore"), beside(t, read(t, "spire/overlays/ha/server.conf"), "DataStore")); diff != "" {
		t.Errorf("spire/overlays/ha/server.conf (+) and the base's (-) differ in more than the DataStore:\n%s", diff)
	}
	label := regexp.MustCompile(`(?m)^ *webhook_label .*\n`)
	if diff := cmp.Diff(read(t, "spire/base/server.conf"), label.ReplaceAllString(read(t, "spire/components/webhook-bundle/server.conf"), "")); diff != "" {
		t.Errorf("spire/components/webhook-bundle/server.conf (+) and the base's (-) differ in more than webhook_label:\n%s", diff)
	}
	if want, got := `"spiffe_id": "`+injector.SPIFFEID+`"`, read(t, "spire/base/injector-entries.json"); !strings.Contains(got, want) {
		t.Errorf("injector-entries.json: expected %s", want)
	}
	files, err := filepath.Glob(manifest("injector/*/*config.yaml"))
	must(t, err)
	overlays, err := filepath.Glob(manifest("injector/overlays/*/config.yaml"))
	must(t, err)
	files = append(append(files, overlays...), manifest("demo/api/platform/config.yaml"))
	if len(files) < 4 {
		t.Fatalf("expected several platform files, found %v", files)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		platform, err := intent.ParsePlatform(raw)
		must(t, err)
		cluster := platform.Cluster
		selectors := []string{} // of rows of all nodes
		for _, s := range cluster.NodeSelectors {
			if cluster.Scope == registrar.ScopeCluster {
				selectors = append(selectors, s.String())
			}
		}
		got := policyInjector{SPIFFEID: cluster.TrustDomain.ID().String() + injectorPath, Cluster: cluster.Name, NodeSelectors: selectors}
		want := policyInjector{SPIFFEID: injector.SPIFFEID, Cluster: injector.Cluster, NodeSelectors: injector.NodeSelectors}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("policy-data.json (-) and %s (+):\n%s", file, diff)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(manifest(path))
	must(t, err)
	return string(raw)
}

// beside is a configuration of SPIRE without its plugin of a kind.
func beside(t *testing.T, config, kind string) string {
	t.Helper()
	before, rest, found := strings.Cut(config, "\n  "+kind+" ")
	_, after, closed := strings.Cut(rest, "\n  }\n")
	if !found || !closed {
		t.Fatalf("expected a plugin %s in\n%s", kind, config)
	}
	return before + "\n" + after
}
