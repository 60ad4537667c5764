package install

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"io"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

//go:embed postgresql.yaml
var postgreSQL string

// Where PostgreSQL runs: in one pod of one container.
const (
	PostgreSQLNamespace = "postgresql"
	PostgreSQLPod       = "postgresql-0"
)

// PostgreSQL puts PostgreSQL on a cluster with an empty database, and into SPIRE's namespace the Secret by which
// manifests/spire/overlays/ha finds it. It returns how to remove all that.
func PostgreSQL(ctx context.Context, env environment.Environment, progress io.Writer) (remove func(context.Context) error, err error) {
	cache, err := parts.UserCache()
	if err != nil {
		return nil, err
	}
	archives, err := images.ForPostgreSQL(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	if env, err = env.With(ctx, archives, progress); err != nil {
		return nil, err
	}
	objects, err := Decode(postgreSQL)
	if err != nil {
		return nil, err
	}
	k := env.Client()
	remove = func(ctx context.Context) error {
		_, secret := k.Run(ctx, "--namespace", "spire", "delete", "secret", databaseAccess, "--ignore-not-found")
		_, namespace := k.Run(ctx, "delete", "namespace", PostgreSQLNamespace, "--ignore-not-found", "--timeout", timeout)
		return errors.Join(secret, namespace)
	}
	return remove, run(progress, []step{
		{"removing an earlier PostgreSQL", func() error { return remove(ctx) }}, // its data has another password
		{"applying PostgreSQL", func() error { return applyObjects(ctx, env, append(objects, databaseSecrets(rand.Text())...)) }},
		{"waiting for PostgreSQL", rollout(ctx, k, PostgreSQLNamespace, "statefulset/postgresql")},
	})
}

// MoveSPIRE is [SPIRE] from a kustomization with another database than SPIRE had. Its authorities and its entries are
// others then: agents know it only when they start again, running pods when they have the next certificate.
func MoveSPIRE(ctx context.Context, env environment.Environment, kustomization string, progress io.Writer) error {
	k := env.Client()
	return run(progress, []step{
		{"applying " + filepath.ToSlash(kustomization), func() error { return Apply(ctx, env, kustomization) }},
		{"waiting for the SPIRE server", rollout(ctx, k, "spire", "statefulset/spire-server")},
		{"giving the injector an identity of its own", func() error { return InjectorEntries(ctx, k) }},
		{"starting the SPIRE agents again", func() error {
			_, err := k.Run(ctx, "--namespace", "spire", "rollout", "restart", "daemonset/spire-agent")
			return err
		}},
		{"waiting for the SPIRE agents", rollout(ctx, k, "spire", "daemonset/spire-agent")},
	})
}

// databaseAccess is what manifests/spire/overlays/ha calls that Secret.
const databaseAccess = "spire-database"

// databaseSecrets tell the database its password, and SPIRE how to reach the database.
func databaseSecrets(password string) []unstructured.Unstructured {
	secret := func(namespace, name, key, value string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret",
			"metadata":   map[string]any{"namespace": namespace, "name": name},
			"stringData": map[string]any{key: value},
		}}
	}
	return []unstructured.Unstructured{
		secret(PostgreSQLNamespace, "postgresql", "password", password),
		secret("spire", databaseAccess, "connection_string",
			"postgresql://spire:"+password+"@postgresql."+PostgreSQLNamespace+"/postgres?sslmode=disable&connect_timeout=5"),
	}
}
