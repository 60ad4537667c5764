package install

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Manifests, PostgreSQL and SPIRE speak of the same Secrets, password and Service.
func TestDatabaseSecrets(t *testing.T) {
	secrets := map[string]map[string]string{}
	for _, s := range databaseSecrets("s3cret") {
		data, _, err := unstructured.NestedStringMap(s.Object, "stringData")
		if err != nil {
			t.Fatal(err)
		}
		secrets[s.GetNamespace()+"/"+s.GetName()] = data
	}
	if got := secrets["postgresql/postgresql"]["password"]; got != "s3cret" {
		t.Errorf("PostgreSQL's password: got %q", got)
	}
	for _, want := range []string{"secretName: postgresql}", "mountPath: /etc/postgresql,", "--pwfile=/etc/postgresql/password", "--username=spire"} {
		if !strings.Contains(postgreSQL, want) {
			t.Errorf("postgresql.yaml: expected %q", want)
		}
	}
	overlay, err := os.ReadFile("../../manifests/spire/overlays/ha/server.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "secretKeyRef: {name: spire-database, key: connection_string}"; !strings.Contains(string(overlay), want) {
		t.Errorf("the overlay ha: expected %q", want)
	}
	database, err := url.Parse(secrets["spire/spire-database"]["connection_string"])
	if err != nil {
		t.Fatal(err)
	}
	if database.User.String() != "spire:s3cret" || database.Host != "postgresql.postgresql" || database.Path != "/postgres" {
		t.Errorf("SPIRE's connection string: got %s", database)
	}
}
