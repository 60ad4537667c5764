// Package offline injects manifests without a cluster, by the function that the webhook calls.
package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook"
)

// Output is what became of manifests.
type Output struct {
	Manifests []byte
	Workloads []registrar.Workload // the identities that they need
}

// templatePaths says where the kinds that have pods keep their metadata and spec, as a JSON pointer.
var templatePaths = map[string]string{
	"v1/Pod":                   "",
	"v1/PodTemplate":           "/template",
	"v1/ReplicationController": "/spec/template",
	"apps/v1/DaemonSet":        "/spec/template",
	"apps/v1/Deployment":       "/spec/template",
	"apps/v1/ReplicaSet":       "/spec/template",
	"apps/v1/StatefulSet":      "/spec/template",
	"batch/v1/Job":             "/spec/template",
	"batch/v1/CronJob":         "/spec/jobTemplate/spec/template",
}

// Inject injects every pod and pod template of a YAML stream. Documents without a namespace are taken to be in
// defaultNamespace. The error names every mistake of every document, and then there is no output.
func Inject(injector webhook.Injector, defaultNamespace string, input []byte) (Output, error) {
	docs, err := split(input)
	if err != nil {
		return Output{}, err
	}
	namespaces := map[string]webhook.Namespace{}
	for _, d := range docs {
		if d.header.APIVersion == "v1" && d.header.Kind == "Namespace" {
			m := d.header.Metadata
			namespaces[m.Name] = webhook.Namespace{Name: m.Name, Labels: m.Labels, Annotations: m.Annotations}
		}
	}
	var out Output
	var texts [][]byte
	var errs []error
	for _, d := range docs {
		pointer, hasPod := templatePaths[d.header.APIVersion+"/"+d.header.Kind]
		if !hasPod {
			texts = append(texts, d.text)
			continue
		}
		name := d.header.Metadata.Namespace
		if name == "" {
			name = defaultNamespace
		}
		ns, ok := namespaces[name]
		if !ok {
			ns = webhook.Namespace{Name: name}
		}
		text, workload, err := injectDocument(injector, ns, d, pointer)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%s", d, mistakes(err)))
			continue
		}
		texts = append(texts, text)
		if workload != nil {
			out.Workloads = append(out.Workloads, *workload)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Output{}, err
	}
	out.Manifests = bytes.Join(texts, []byte("---\n"))
	return out, nil
}

// injectDocument returns the document with its pod injected, and the workload if there is one. A pod that is left alone
// leaves its document as it was written.
func injectDocument(injector webhook.Injector, ns webhook.Namespace, d document, pointer string) ([]byte, *registrar.Workload, error) {
	raw, err := at(d.json, pointer)
	if err != nil {
		return nil, nil, err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return nil, nil, fmt.Errorf("decoding the pod: %w", err)
	}
	res, err := injector.Inject(ns, &pod)
	if err != nil {
		return nil, nil, err
	}
	if !res.Inject {
		return d.text, nil, nil
	}
	ops, err := webhook.Patch(&pod, res.Pod)
	if err != nil || len(ops) == 0 {
		return d.text, &res.Workload, err
	}
	var missing struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &missing); err != nil {
		return nil, nil, err
	}
	if missing.Metadata == nil { // a template may have none, and then nothing can be added inside it
		ops = append([]webhook.Operation{{Operation: "add", Path: "/metadata", Value: map[string]any{}}}, ops...)
	}
	for i := range ops {
		ops[i].Path = pointer + ops[i].Path
	}
	data, err := json.Marshal(ops)
	if err != nil {
		return nil, nil, err
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, nil, err
	}
	patched, err := patch.Apply(d.json)
	if err != nil {
		return nil, nil, fmt.Errorf("applying the patch: %w", err)
	}
	text, err := yaml.JSONToYAML(patched)
	return text, &res.Workload, err
}

// at returns the object at a JSON pointer.
func at(object []byte, pointer string) (json.RawMessage, error) {
	for _, key := range strings.Split(pointer, "/")[1:] {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(object, &fields); err != nil {
			return nil, fmt.Errorf("expected an object at %s: %w", pointer, err)
		}
		object = fields[key]
		if object == nil {
			return nil, fmt.Errorf("expected a pod template at %s, got nothing", pointer)
		}
	}
	return object, nil
}

// mistakes puts each mistake of a refusal on a line of its own.
func mistakes(err error) string {
	var refusal *webhook.Refusal
	if !errors.As(err, &refusal) {
		return " " + err.Error()
	}
	var b strings.Builder
	for _, m := range refusal.Mistakes {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}
