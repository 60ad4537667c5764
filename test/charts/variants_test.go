package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestChartsMakeWhatKustomizeMakes(t *testing.T) {
	for _, v := range Variants() {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			rendered, err := render(t.Context(), v.Chart, v.Namespace, v.Values)
			if err != nil {
				t.Fatal(err)
			}
			fromHelm, err := FromHelm(rendered)
			if err != nil {
				t.Fatal(err)
			}
			var built []string
			for i, folder := range v.Kustomizations {
				folder = fromTop(folder)
				if i == 0 && len(v.Components) > 0 {
					folder = extended(t, folder, v)
				}
				text, err := tools.kubectl.Run(t.Context(), "kustomize", folder)
				if err != nil {
					t.Fatal(err)
				}
				built = append(built, text)
			}
			fromKustomize, err := FromKustomize(strings.Join(built, "---\n"))
			if err != nil {
				t.Fatal(err)
			}
			if len(fromKustomize) < 5 {
				t.Errorf("expected the objects of an installation, got %d", len(fromKustomize))
			}
			for _, difference := range Differences(fromKustomize, fromHelm) {
				t.Error(difference)
			}
		})
	}
}

// extended is a kustomization of another one and a variant's components, as people write it.
func extended(t *testing.T, resource string, v Variant) (folder string) {
	t.Helper()
	folder = t.TempDir()
	relative := func(path string) string {
		path, err := filepath.Abs(path)
		if err == nil {
			path, err = filepath.Rel(folder, path)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: spire-injector\nresources: [" +
		relative(resource) + "]\ncomponents:\n"
	for _, component := range v.Components {
		text += "- " + relative(fromTop(component)) + "\n"
	}
	if v.Platform != "" {
		text += "configMapGenerator:\n- {name: spire-injector-config, behavior: replace, files: [config.yaml]}\n"
		platform, err := os.ReadFile(filepath.Join(resource, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		written := strings.Replace(string(platform), "\nspire:\n", "\n"+v.Platform+"\n", 1)
		if err := os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(written), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// A new overlay or component has to be within reach of the chart's values.
func TestEveryOverlayIsAVariant(t *testing.T) {
	components, err := os.ReadDir(fromTop("manifests/injector/components"))
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		// Some have an overlay of their name.
		want, overlay := "manifests/injector/components/"+component.Name(), "manifests/injector/overlays/"+component.Name()
		if !slices.ContainsFunc(Variants(), func(v Variant) bool {
			return slices.Contains(v.Components, want) || slices.Contains(v.Kustomizations, overlay)
		}) {
			t.Errorf("%s: expected a variant of the chart with it", want)
		}
	}
	for _, folder := range []string{"manifests/injector", "manifests/spire"} {
		overlays, err := os.ReadDir(fromTop(folder + "/overlays"))
		if err != nil {
			t.Fatal(err)
		}
		for _, overlay := range overlays {
			want := folder + "/overlays/" + overlay.Name()
			if !slices.ContainsFunc(Variants(), func(v Variant) bool { return slices.Contains(v.Kustomizations, want) }) {
				t.Errorf("%s: expected a variant of the chart with it", want)
			}
		}
	}
}

func TestLint(t *testing.T) {
	for _, v := range Variants() {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if out, err := tools.helm.With(t.Context(), v.Values+"\n", "lint", "--strict", "--namespace", v.Namespace, "--values", "-", fromTop(v.Chart)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// certificates are what Helm makes anew each time.
var certificates = regexp.MustCompile(`(caBundle|ca\.crt|tls\.crt|tls\.key): .*`)

// What a package has does not depend on links.
func TestPackagesAreTheFolders(t *testing.T) {
	for _, chart := range []string{InjectorChart, SPIREChart} {
		t.Run(chart, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if _, err := tools.helm.Run(t.Context(), "package", fromTop(chart), "--destination", folder, "--version", "1.2.3", "--app-version", "v1.2.3"); err != nil {
				t.Fatal(err)
			}
			packages, err := os.ReadDir(folder)
			if err != nil || len(packages) != 1 || !strings.HasSuffix(packages[0].Name(), "-1.2.3.tgz") {
				t.Fatalf("expected one package of version 1.2.3, got %v, %v", packages, err)
			}
			got, err := tools.helm.Run(t.Context(), "template", "release", folder+"/"+packages[0].Name(), "--namespace", "elsewhere")
			if err != nil {
				t.Fatal(err)
			}
			want, err := tools.helm.Run(t.Context(), "template", "release", fromTop(chart), "--namespace", "elsewhere")
			if err != nil {
				t.Fatal(err)
			}
			appVersion := map[string]string{InjectorChart: ":dev", SPIREChart: ":1.15.3"}[chart]
			want = strings.NewReplacer("-0.1.0", "-1.2.3", appVersion, ":v1.2.3").Replace(want)
			if certificates.ReplaceAllString(got, "") != certificates.ReplaceAllString(want, "") {
				t.Error("the package makes other objects than the folder")
			}
		})
	}
}
