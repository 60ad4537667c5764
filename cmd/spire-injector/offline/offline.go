// Package offline injects manifests without a cluster, by the function that the webhook calls.
package offline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/networkpolicies"
)

// Output is what became of manifests.
type Output struct {
	Manifests []byte
	Workloads []registrar.Workload // the identities that they need
	Warnings  []string             // each about an object that it names
	// Pods are what counts of the injected pods for [Output.NetworkPolicies], by namespace.
	Pods map[string][]networkpolicies.Pod
}

// Inject injects every pod and pod template of a YAML stream, also inside lists. Documents without a namespace are
// taken to be in defaultNamespace. A document in which nothing is injected comes back byte for byte. The error names
// every mistake of every document, and then there is no output.
func Inject(injector inject.Injector, defaultNamespace string, input []byte) (Output, error) {
	docs := split(input)
	inDocument := make([][]object, len(docs))
	for i := range docs {
		if docs[i].err == nil {
			inDocument[i], docs[i].err = objects(docs[i])
		}
	}
	namespaces, services := namespacesIn(inDocument), servicesIn(inDocument, defaultNamespace)
	out := Output{Pods: map[string][]networkpolicies.Pod{}}
	var errs []error
	for i, d := range docs {
		errs = append(errs, d.err)
		var ops []inject.Operation
		warn := func(o object, warnings []string) {
			for _, warning := range warnings {
				out.Warnings = append(out.Warnings, fmt.Sprintf("%s: %s", o, warning))
			}
		}
		for _, o := range inDocument[i] {
			pointer, hasPod := podIn(o)
			if !hasPod || hasNoTemplate(o, pointer) {
				warn(o, byTheClusterAlone(o))
				continue
			}
			ns := namespaceOf(o, namespaces, defaultNamespace)
			ns.Services = services[ns.Name]
			res, err := injectObject(injector, ns, o, pointer)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%s", o, strings.Join(append([]string{mistakes(err)}, misplaced(o, pointer)...), "\n  ")))
				continue
			}
			warn(o, misplaced(o, pointer))
			if len(res.workloads) > 0 && d.twice != nil {
				errs, d.twice = append(errs, d.twice), nil
			}
			ops = append(ops, res.ops...)
			out.Workloads = append(out.Workloads, res.workloads...)
			if res.pod.Identity != "" {
				out.Pods[ns.Name] = append(out.Pods[ns.Name], res.pod)
			}
			warn(o, res.warnings)
		}
		text, err := d.patched(ops)
		errs = append(errs, err)
		out.Manifests = append(append(out.Manifests, d.marker...), text...)
	}
	if err := errors.Join(errs...); err != nil {
		return Output{}, err
	}
	return out, nil
}

func namespacesIn(inDocument [][]object) map[string]intent.Namespace {
	namespaces := map[string]intent.Namespace{}
	for _, objects := range inDocument {
		for _, o := range objects {
			if m := o.header.Metadata; o.kind() == namespaceKind {
				namespaces[m.Name] = intent.Namespace{Name: m.Name, Labels: m.Labels, Annotations: m.Annotations}
			}
		}
	}
	return namespaces
}

// servicesIn are those that say what is spoken on ports, by namespace. One that cannot be read passes through as others do.
func servicesIn(inDocument [][]object, defaultNamespace string) map[string][]intent.Service {
	services := map[string][]intent.Service{}
	for _, objects := range inDocument {
		for _, o := range objects {
			var s corev1.Service
			if o.kind() != serviceKind || json.Unmarshal(o.json, &s) != nil {
				continue
			}
			if one, says := intent.ServiceOf(&s); says {
				namespace := cmp.Or(s.Namespace, defaultNamespace)
				services[namespace] = append(services[namespace], one)
			}
		}
	}
	return services
}

func namespaceOf(o object, known map[string]intent.Namespace, defaultNamespace string) intent.Namespace {
	name := o.header.Metadata.Namespace
	if name == "" {
		name = defaultNamespace
	}
	if ns, ok := known[name]; ok {
		return ns
	}
	return intent.Namespace{Name: name}
}

// injection is what is to be done for one object.
type injection struct {
	ops       []inject.Operation   // on its document; none when it stays as it is
	workloads []registrar.Workload // none when it is not injected
	warnings  []string
	pod       networkpolicies.Pod // without an identity when it is not injected
}

func injectObject(injector inject.Injector, ns intent.Namespace, o object, pointer string) (injection, error) {
	raw, err := inject.At(o.json, pointer)
	if err != nil {
		return injection{}, err
	}
	if err := unquoted(raw); err != nil {
		return injection{}, err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return injection{}, typeMistake(raw, err)
	}
	res, err := injector.Inject(ns, &pod)
	if err != nil {
		return injection{}, err
	}
	counted, _ := networkpolicies.PodOf(injector.Platform, ns, res.Pod)
	ops := inject.Patch(&pod, res.Pod)
	if len(ops) == 0 {
		return injection{workloads: res.Workloads, warnings: res.Warnings, pod: counted}, nil
	}
	var parts struct{ Metadata, Spec map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &parts); err != nil {
		return injection{}, err
	}
	if parts.Spec == nil {
		return injection{}, fmt.Errorf("expected a pod's spec at %s/spec, got nothing", pointer)
	}
	if parts.Metadata == nil { // a template may have none, and then nothing can be added inside it
		ops = append([]inject.Operation{{Operation: "add", Path: "/metadata", Value: map[string]any{}}}, ops...)
	}
	for i := range ops {
		ops[i].Path = o.pointer + pointer + ops[i].Path
	}
	return injection{ops: ops, workloads: res.Workloads, warnings: res.Warnings, pod: counted}, nil
}

// patched is the document's text after the operations.
func (d document) patched(ops []inject.Operation) ([]byte, error) {
	if len(ops) == 0 {
		return d.text, nil
	}
	data, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("document %d: encoding the patch: %w", d.number, err)
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, fmt.Errorf("document %d: decoding the patch: %w", d.number, err)
	}
	object, err := patch.Apply(d.json)
	if err != nil {
		return nil, fmt.Errorf("document %d: applying the patch: %w", d.number, err)
	}
	text, err := yaml.JSONToYAML(object)
	if err != nil {
		return nil, fmt.Errorf("document %d: encoding the injected object: %w", d.number, err)
	}
	if len(d.marker) > 0 && !bytes.HasSuffix(d.marker, []byte("\n")) {
		text = append([]byte("\n"), text...)
	}
	return text, nil
}

// mistakes puts each mistake of a refusal on a line of its own.
func mistakes(err error) string {
	var refusal *intent.Refusal
	if !errors.As(err, &refusal) {
		return " " + err.Error()
	}
	var b strings.Builder
	for _, m := range refusal.Mistakes {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}
