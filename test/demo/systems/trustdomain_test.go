package systems

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTrustDomain sees that manifests/spire/trust-domain changes every place that has the trust domain, and nothing
// else.
func TestTrustDomain(t *testing.T) {
	hash := regexp.MustCompile(`\bspire-(server|agent)-[a-z0-9]{10}\b`) // of the content
	for _, folder := range []string{"base", "overlays/csi", "overlays/ha", "overlays/unix-socket"} {
		t.Run(folder, func(t *testing.T) {
			spire := filepath.Join(shared.root, "manifests", "spire")
			dir := t.TempDir()
			from, err := filepath.Rel(dir, spire)
			if err != nil {
				t.Fatal(err)
			}
			kustomization := fmt.Sprintf(`resources: [%s]
components: [%s]
configMapGenerator:
  - name: spire-trust-domain
    literals: [name=auxiliary.org]
    options: {disableNameSuffixHash: true, annotations: {config.kubernetes.io/local-config: "true"}}
`, filepath.Join(from, filepath.FromSlash(folder)), filepath.Join(from, "trust-domain"))
			if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o644); err != nil {
				t.Fatal(err)
			}
			rendered := func(folder string) string {
				out, err := shared.k.Run(t.Context(), "kustomize", folder)
				if err != nil {
					t.Fatal(err)
				}
				return hash.ReplaceAllString(out, "spire-$1-hash")
			}
			want := strings.ReplaceAll(rendered(filepath.Join(spire, filepath.FromSlash(folder))), "example.org", "auxiliary.org")
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(rendered(dir), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
