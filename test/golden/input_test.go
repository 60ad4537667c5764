package golden

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// input is a case, decoded.
type input struct {
	injector  inject.Injector
	namespace intent.Namespace
	pod       *corev1.Pod
	raw       []byte // the pod as JSON, with all that the case says
	services  []byte // in YAML, of the namespace
	spireErr  error  // of every registration; nil for none
}

func (c Case) input(t *testing.T) input {
	t.Helper()
	platform, err := intent.ParsePlatform(c.Platform)
	if err != nil {
		t.Fatalf("%s: %v", platformFile, err)
	}
	in := input{injector: inject.Injector{Platform: platform, Version: "test"}, pod: &corev1.Pod{}}
	if c.Kubernetes != "" {
		if in.injector.Kubernetes, err = inject.ParseKubernetesVersion(c.Kubernetes); err != nil {
			t.Fatalf("%s: %v", kubernetesFile, err)
		}
	}
	in.spireErr = c.spireErr(t)
	var ns corev1.Namespace
	mustUnmarshal(t, c.Namespace, &ns)
	in.namespace = intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	for _, document := range strings.Split(string(c.Services), "---\n") {
		if document == "" {
			continue
		}
		text, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatalf("%s: %v", servicesFile, err)
		}
		text = merge(t, text, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": %q}}`, ns.Name))
		in.services = slices.Concat(in.services, []byte("---\n"), text, []byte("\n"))
		var s corev1.Service
		mustUnmarshal(t, text, &s)
		if one, says := intent.ServiceOf(&s); says {
			in.namespace.Services = append(in.namespace.Services, one)
		}
	}
	mustUnmarshal(t, c.Pod, in.pod)
	if in.raw, err = yaml.YAMLToJSON(c.Pod); err != nil {
		t.Fatal(err)
	}
	return in
}

// spireErr is the error that SPIRE answers with in a case.
func (c Case) spireErr(t *testing.T) error {
	t.Helper()
	if c.SPIRE == "" {
		return nil
	}
	for kind := registrar.Failed; kind <= registrar.MissingBundle; kind++ {
		if kind.String() == c.SPIRE {
			return &registrar.Error{Kind: kind, Message: "no answer of SPIRE in this case"}
		}
	}
	t.Fatalf("%s: unknown kind of error %q", spireFile, c.SPIRE)
	return nil
}

// manifest is the pod as people write it into a file for the cluster.
func (in input) manifest(t *testing.T) []byte {
	t.Helper()
	return merge(t, in.raw, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": %q}}`, in.namespace.Name))
}

// merge applies a JSON merge patch.
func merge(t *testing.T, object []byte, with string) []byte {
	t.Helper()
	out, err := jsonpatch.MergePatch(object, []byte(with))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustUnmarshal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("decoding %s: %v", data, err)
	}
}
