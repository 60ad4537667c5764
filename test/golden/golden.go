// Package golden reads the corpus of injection cases: one file is one case, with everything that goes in and everything
// that comes out. Each case drives the function, the webhook over HTTP, the offline command and a real API server.
//
// What comes out is want/refusal.txt, with the reason and each mistake; or want/unchanged.txt, with the reason; or
// want/denial.txt, the webhook's answer where only SPIRE is in the way; or
//
//	want/reason.txt    why the pod is injected
//	want/pod.yaml      what injection changed in pod.yaml: null where a field is gone; a list has all its items, with
//	                   nothing but their names those that are as they were; "standard: envoy" is the item that the case
//	                   minimal-pod shows in full, but for what is written beside it
//	want/status.yaml   the status annotation
//	want/proxy.yaml    what templates.Generate is asked for, without zeroes; the annotations have what it returns, and
//	                   templates/testdata shows that for each shape of a proxy
//	want/entries.yaml  the registration entries
//	want/warnings.txt  what the webhook warns of, if anything
package golden

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

//go:embed platform.yaml
var defaultPlatform []byte

// Names of the files inside a case. Those under want/ are the result and are rewritten by -update.
const (
	platformFile  = "platform.yaml"  // optional
	namespaceFile = "namespace.yaml" // a v1 Namespace; optional, then one named demo without labels
	podFile       = "pod.yaml"
	servicesFile  = "services.yaml" // the Services of the namespace; optional, then none
	// kubernetesFile is the version of the cluster; optional, then a current one.
	kubernetesFile = "kubernetes.txt"
	// spireFile is the kind of error that SPIRE answers every registration with, such as unavailable; optional, then none.
	spireFile = "spire.txt"
	// apiServerFile is part of what the real API server says of a pod that it refuses by itself, without asking the
	// webhook or after.
	apiServerFile = "api-server.txt"
	wantPrefix    = "want/"
)

const defaultNamespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n"

// Case is one file of the corpus.
type Case struct {
	Name      string
	Platform  []byte
	Namespace []byte
	Pod       []byte
	Services  []byte
	// Kubernetes is the version of the cluster, empty for a current one.
	Kubernetes string
	// SPIRE is the kind of error that SPIRE answers with, empty if it registers.
	SPIRE string
	// APIServer is part of the real API server's own refusal, empty if it has nothing against the pod.
	APIServer string
	Want      map[string]string // what comes out, by the file's name without want/

	path    string
	archive *txtar.Archive
}

// Read returns all cases of a folder.
func Read(folder string) ([]Case, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no *.txtar in %s", folder)
	}
	var cases []Case
	for _, path := range paths {
		c, err := readCase(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func readCase(path string) (Case, error) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		return Case{}, err
	}
	c := Case{
		Name:      strings.TrimSuffix(filepath.Base(path), ".txtar"),
		Platform:  defaultPlatform,
		Namespace: []byte(defaultNamespace),
		Want:      map[string]string{},
		path:      path,
		archive:   archive,
	}
	for _, f := range archive.Files {
		name, isWant := strings.CutPrefix(f.Name, wantPrefix)
		switch {
		case isWant:
			c.Want[name] = string(f.Data)
		case f.Name == platformFile:
			c.Platform = f.Data
		case f.Name == namespaceFile:
			c.Namespace = f.Data
		case f.Name == podFile:
			c.Pod = f.Data
		case f.Name == servicesFile:
			c.Services = f.Data
		case f.Name == kubernetesFile:
			c.Kubernetes = strings.TrimSpace(string(f.Data))
		case f.Name == spireFile:
			c.SPIRE = strings.TrimSpace(string(f.Data))
		case f.Name == apiServerFile:
			c.APIServer = strings.TrimSpace(string(f.Data))
		default:
			return Case{}, fmt.Errorf("unexpected file %s: expected %s, %s, %s, %s, %s, %s, %s or %s…", f.Name,
				platformFile, namespaceFile, podFile, servicesFile, kubernetesFile, spireFile, apiServerFile, wantPrefix)
		}
	}
	if c.Pod == nil {
		return Case{}, fmt.Errorf("expected a file %s", podFile)
	}
	return c, nil
}

// Write replaces what the case wants.
func (c Case) Write(got map[string]string) error {
	c.archive.Files = slices.DeleteFunc(c.archive.Files, func(f txtar.File) bool {
		return strings.HasPrefix(f.Name, wantPrefix)
	})
	names := make([]string, 0, len(got))
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.archive.Files = append(c.archive.Files, txtar.File{Name: wantPrefix + name, Data: []byte(got[name])})
	}
	return os.WriteFile(c.path, txtar.Format(c.archive), 0o644)
}
