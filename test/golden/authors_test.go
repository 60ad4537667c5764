package golden

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// author is somebody who applies objects and reads what the API server says to that.
type author struct {
	client.Client
	mu   sync.Mutex
	said []string
}

func newAuthor(t *testing.T, s *apiServer) *author {
	t.Helper()
	a := &author{}
	config := rest.CopyConfig(s.config)
	config.WarningHandler = a
	c, err := client.New(config, client.Options{Scheme: s.Scheme()})
	must(t, err)
	a.Client = c
	return a
}

// HandleWarningHeader implements [rest.WarningHandler].
func (a *author) HandleWarningHeader(_ int, _, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, text)
}

// hears is what the API server says while something is done, in the order of the alphabet: warnings, and the refusal.
func (a *author) hears(do func() error) []string {
	a.mu.Lock()
	a.said = nil
	a.mu.Unlock()
	err := do()
	a.mu.Lock()
	defer a.mu.Unlock()
	said := slices.Clone(a.said)
	if err != nil {
		said = append(said, err.Error())
	}
	slices.Sort(said)
	return said
}

func (a *author) creates(t *testing.T, manifest []byte) []string {
	t.Helper()
	return a.hears(func() error { return a.Create(t.Context(), decoded(t, manifest), client.DryRunAll) })
}

// warning is one of a policy, as people read it.
func warning(policy, text string) string {
	return fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%[1]s': %s", policy, text)
}

// meta are labels and annotations.
type meta struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// authored is what an author applies, by the labels and annotations on the object itself and on its template.
type authored struct{ itself, template meta }

// of writes it as a kind, named api.
func (a authored) of(t *testing.T, kind, namespace string) []byte {
	t.Helper()
	template := map[string]any{
		"metadata": map[string]any{"annotations": a.template.Annotations, "labels": map[string]string{"app": "api"}},
		"spec": map[string]any{
			"containers": []any{map[string]any{"name": "api", "image": "api", "ports": []any{map[string]any{"containerPort": 8080}}}},
		},
	}
	maps.Copy(template["metadata"].(map[string]any)["labels"].(map[string]string), a.template.Labels)
	spec := map[string]any{"template": template}
	object := map[string]any{"spec": spec}
	slash := strings.LastIndex(kind, "/")
	version, name := kind[:slash], kind[slash+1:]
	switch name {
	case "Job", "CronJob":
		template["spec"].(map[string]any)["restartPolicy"] = "Never"
		if name == "CronJob" {
			object["spec"] = map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": spec}}
		}
	case "PodTemplate":
		object = map[string]any{"template": template}
	case "ReplicationController":
		spec["selector"] = map[string]string{"app": "api"}
	default:
		spec["selector"] = map[string]any{"matchLabels": map[string]string{"app": "api"}}
	}
	if name == "StatefulSet" {
		spec["serviceName"] = "api"
	}
	object["apiVersion"], object["kind"] = version, name
	object["metadata"] = map[string]any{
		"name": "api", "namespace": namespace, "labels": a.itself.Labels, "annotations": a.itself.Annotations,
	}
	data, err := json.Marshal(object)
	must(t, err)
	return data
}

const deploymentKind = "apps/v1/Deployment"

func label(value string) map[string]string { return map[string]string{intent.LabelInject: value} }

// testAuthors checks what authors hear, word for word, and that they hear it of nothing else.
func testAuthors(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	for name, value := range map[string]string{"said": "", "said-enabled": intent.InjectEnabled, "said-disabled": intent.InjectDisabled} {
		ns := intent.Namespace{Name: name}
		if value != "" {
			ns.Labels = label(value)
		}
		s.prepare(t, ns, name)
	}
	a := newAuthor(t, s)
	t.Run("Misplaced", func(t *testing.T) { testMisplaced(t, s, a) })
	t.Run("TemplateLabels", func(t *testing.T) { testTemplateLabels(t, s, a) })
	t.Run("Namespaces", func(t *testing.T) { testNamespaces(t, s, a) })
	t.Run("Excluded", func(t *testing.T) { testExcluded(t, s, a) })
	t.Run("Pods", func(t *testing.T) { testPodsByHand(t, s, a) })
}

func testMisplaced(t *testing.T, s *apiServer, a *author) {
	said := func(text string) string { return warning("spire-injector-misplaced", text) }
	onItself := authored{itself: meta{Labels: label("enabled"), Annotations: map[string]string{
		intent.AnnotationAppPort: "8080", intent.AnnotationAllowedPeers: "/web"}}}
	s.eventually(t, "the policy", func() error {
		if len(a.creates(t, onItself.of(t, deploymentKind, "said"))) < 2 {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	for _, kind := range inject.Kinds() {
		name, at := kind[strings.LastIndex(kind, "/")+1:], "spec.template.metadata"
		switch name {
		case "Pod":
			continue
		case "CronJob":
			at = "spec.jobTemplate.spec.template.metadata"
		case "PodTemplate":
			at = "template.metadata"
		}
		want := []string{
			said(name + " said/api has spiffe.io/app-port, spiffe.io/allowed-peers on itself, where they do nothing; move them to " + at + ".annotations"),
			said(name + " said/api has the label spiffe.io/inject on itself, where it does nothing; move it to " + at + ".labels"),
		}
		if diff := cmp.Diff(want, a.creates(t, onItself.of(t, kind, "said"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}

	right := meta{Labels: label("enabled"), Annotations: map[string]string{
		intent.AnnotationCapture: "inbound", intent.AnnotationAllowedPeers: "/web"}}
	enabled := meta{Labels: label("enabled")}
	port := meta{Annotations: map[string]string{intent.AnnotationAppPort: "8080"}}
	asAnnotation := meta{Annotations: label("enabled")}
	for name, test := range map[string]struct {
		namespace string
		authored
		want []string
	}{
		"as the README has it":                {"said", authored{template: right}, nil},
		"nothing of ours":                     {"said", authored{itself: meta{Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}}}, nil},
		"on both":                             {"said", authored{itself: right, template: right}, nil},
		"another tool's":                      {"said", authored{itself: meta{Annotations: map[string]string{"spiffe.io/federatesWith": "x"}}, template: right}, nil},
		"on itself, where the namespace asks": {"said-enabled", authored{itself: enabled, template: meta{Annotations: right.Annotations}}, nil},
		"opts out on itself, where the namespace asks": {"said-enabled", authored{itself: meta{Labels: label("disabled")}, template: meta{Annotations: right.Annotations}},
			[]string{said("Deployment said-enabled/api has the label spiffe.io/inject on itself, where it does nothing; move it to spec.template.metadata.labels")}},
		"the label alone": {"said", authored{itself: enabled, template: meta{Annotations: right.Annotations}},
			[]string{said("Deployment said/api has the label spiffe.io/inject on itself, where it does nothing; move it to spec.template.metadata.labels")}},
		"an annotation alone": {"said", authored{itself: port, template: right},
			[]string{said("Deployment said/api has spiffe.io/app-port on itself, where it does nothing; move it to spec.template.metadata.annotations")}},
		"the label as an annotation": {"said", authored{itself: asAnnotation},
			[]string{said("Deployment said/api has spiffe.io/inject among its annotations, where it does nothing; move it to spec.template.metadata.labels")}},
		"the label as an annotation of the template": {"said", authored{template: meta{Annotations: map[string]string{intent.LabelInject: "enabled", intent.AnnotationAppPort: "8080"}}},
			[]string{said("the template of Deployment said/api has spiffe.io/inject among its annotations, where it does nothing; move it to spec.template.metadata.labels")}},
		"no label": {"said", authored{template: port},
			[]string{said("the template of Deployment said/api has spiffe.io/app-port, and neither it nor namespace said has the label spiffe.io/inject: " +
				"its pods are not injected; write spiffe.io/inject: enabled into spec.template.metadata.labels")}},
		"no label, and the namespace opts out": {"said-disabled", authored{template: port}, nil},
		"opts out":                             {"said", authored{template: meta{Labels: label("disabled"), Annotations: port.Annotations}}, nil},
	} {
		if diff := cmp.Diff(test.want, a.creates(t, test.of(t, deploymentKind, test.namespace)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// What a controller makes has an owner that was looked at.
	owned := merge(t, onItself.of(t, "apps/v1/ReplicaSet", "said"),
		`{"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "1", "controller": true}]}}`)
	hashed := merge(t, onItself.of(t, "apps/v1/ReplicaSet", "said"), `{"metadata": {"labels": {"pod-template-hash": "x"}}}`)
	for _, made := range [][]byte{owned, hashed} {
		if got := a.creates(t, made); len(got) > 0 {
			t.Errorf("a controller hears %q", got)
		}
	}

	// It is said again when something of it changes, and not when anything else does.
	stored := decoded(t, onItself.of(t, deploymentKind, "said"))
	must(t, s.Create(t.Context(), stored))
	defer func() { must(t, s.Delete(t.Context(), stored)) }()
	for patch, want := range map[string]int{
		`{"spec": {"replicas": 3}}`:                 0,
		`{"metadata": {"finalizers": []}}`:          0,
		`{"metadata": {"labels": {"a": "b"}}}`:      2,
		`{"metadata": {"annotations": {"a": "b"}}}`: 2,
		`{"metadata": {"annotations": {"spiffe.io/app-port": null, "spiffe.io/allowed-peers": null}}}`: 1,
		`{"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}`:                                 2,
		`{"spec": {"template": {"metadata": {"labels": {"spiffe.io/inject": "disabled"}}}}}`:           1,
	} {
		got := a.hears(func() error {
			return a.Patch(t.Context(), stored.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
		})
		if len(got) != want {
			t.Errorf("%s: expected %d warnings, got %q", patch, want, got)
		}
	}
	status := a.hears(func() error {
		return a.SubResource("status").Patch(t.Context(), stored.DeepCopy(), client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata": {"annotations": {"a": "c"}}, "status": {"observedGeneration": 1}}`)))
	})
	if len(status) > 0 {
		t.Errorf("of the status: %q", status)
	}
}

// denial is one of the policy for templates.
func denial(resource, kind, value, hint string) string {
	return fmt.Sprintf(`%s "api" is forbidden: ValidatingAdmissionPolicy 'spire-injector-template-labels' with binding `+
		`'spire-injector-template-labels' denied request: the pods of this %s would be denied: label spiffe.io/inject: `+
		`expected "enabled" or "disabled", got "%s"%s`, resource, kind, value, hint)
}

func testTemplateLabels(t *testing.T, s *apiServer, a *author) {
	wrong := func(value string) authored { return authored{template: meta{Labels: label(value)}} }
	denied := func() error {
		if got := a.creates(t, wrong("true").of(t, deploymentKind, "said")); len(got) == 0 {
			return fmt.Errorf("it denies nothing")
		}
		return nil
	}
	s.eventually(t, "the policy", denied)
	for _, kind := range inject.Kinds() {
		name := kind[strings.LastIndex(kind, "/")+1:]
		if name == "Pod" {
			continue
		}
		resource := strings.ToLower(name) + "s"
		if group, _, grouped := strings.Cut(kind, "/v1/"); grouped {
			resource += "." + group
		}
		want := []string{denial(resource, name, "true", "")}
		if diff := cmp.Diff(want, a.creates(t, wrong("true").of(t, kind, "said"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	for value, hint := range map[string]string{"": "", "Enabled": "", "required": "; required belongs on a Namespace"} {
		want := []string{denial("deployments.apps", "Deployment", value, hint)}
		for _, namespace := range []string{"said", "said-enabled"} {
			if diff := cmp.Diff(want, a.creates(t, wrong(value).of(t, deploymentKind, namespace))); diff != "" {
				t.Errorf("%q in %s (-want +got):\n%s", value, namespace, diff)
			}
		}
	}
	owned := merge(t, wrong("true").of(t, "apps/v1/ReplicaSet", "said"),
		`{"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "1", "controller": true}]}}`)
	if got := a.creates(t, owned); len(got) > 0 {
		t.Errorf("a controller hears %q", got)
	}

	// What has a wrong value already can be scaled and annotated, and mended.
	var stored *unstructured.Unstructured
	s.withoutPolicy(t, func() {
		s.eventually(t, "no policy", func() error {
			stored = decoded(t, wrong("true").of(t, deploymentKind, "said"))
			return s.Create(t.Context(), stored)
		})
	})
	defer func() { must(t, s.Delete(t.Context(), stored)) }()
	s.eventually(t, "the policy", denied)
	for patch, want := range map[string][]string{
		`{"spec": {"replicas": 0}}`:                                                     nil,
		`{"metadata": {"annotations": {"a": "b"}}}`:                                     nil,
		`{"spec": {"template": {"metadata": {"labels": {"spiffe.io/inject": null}}}}}`:  nil,
		`{"spec": {"template": {"metadata": {"labels": {"spiffe.io/inject": "yes"}}}}}`: {denial("deployments.apps", "Deployment", "yes", "")},
		`{"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}`:             {denial("deployments.apps", "Deployment", "true", "")},
	} {
		got := a.hears(func() error {
			return a.Patch(t.Context(), stored.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
		})
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", patch, diff)
		}
	}
}

func namespaceOf(name string, m meta) *corev1.Namespace {
	ns := &corev1.Namespace{}
	ns.Name, ns.Labels, ns.Annotations = name, m.Labels, m.Annotations
	return ns
}

func testNamespaces(t *testing.T, s *apiServer, a *author) {
	said := func(text string) string { return warning("spire-injector-namespaces", text) }
	creates := func(m meta) []string {
		return a.hears(func() error { return a.Create(t.Context(), namespaceOf("new", m), client.DryRunAll) })
	}
	s.eventually(t, "the policy", func() error {
		if len(creates(meta{Labels: label("enable")})) == 0 {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	annotated := func(key, value string) meta { return meta{Annotations: map[string]string{key: value}} }
	for name, test := range map[string]struct {
		meta
		want []string
	}{
		"nothing of ours": {meta{Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}}, nil},
		"what it may say": {meta{Labels: label("required"), Annotations: intent.Examples()}, nil},
		"another tool's":  {annotated("spiffe.io/federatesWith", "x"), nil},
		"a wrong label": {meta{Labels: label("enable")}, []string{
			said(`label spiffe.io/inject of namespace new: expected "enabled", "disabled" or "required", got "enable": pods with the label are denied, and no others are injected`)}},
		"an empty label": {meta{Labels: label("")}, []string{
			said(`label spiffe.io/inject of namespace new: expected "enabled", "disabled" or "required", got "": pods with the label are denied, and no others are injected`)}},
		"the label as an annotation": {annotated(intent.LabelInject, "enabled"), []string{
			said("annotation spiffe.io/inject of namespace new: is a label, not an annotation; move it to labels")}},
		"what is generated": {annotated(intent.AnnotationStatus, "{}"), []string{
			said("annotation spiffe.io/status of namespace new: is written by the webhook alone; remove it")}},
		"an unknown key": {annotated("spiffe.io/allowed-peer", "/web"), []string{
			said("annotation spiffe.io/allowed-peer of namespace new: unknown key, unless foreignAnnotations of the platform file has it")}},
		"an unparsable list of peers": {annotated(intent.AnnotationAllowedPeers, "/web, api"), []string{
			said(`annotation spiffe.io/allowed-peers of namespace new: expected paths such as "/web", full SPIFFE IDs, or either followed by "/*"`)}},
		"two values": {meta{Annotations: map[string]string{intent.AnnotationMode: "sidcar", intent.AnnotationX509SVIDTTL: "forever"}}, []string{
			said("annotation spiffe.io/mode of namespace new: expected gateway, or one or several of sidecar, socket and files; " +
				"annotation spiffe.io/x509-svid-ttl of namespace new: expected a duration such as 30s or 1h")}},
		"more keys than a message has room for": {meta{Annotations: manyUnknown(200)}, []string{
			said("annotations under spiffe.io/ with unknown keys, unless foreignAnnotations of the platform file has them")}},
	} {
		if diff := cmp.Diff(test.want, creates(test.meta), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// What changes is looked at, and a namespace that begins to require injection has pods already.
	must(t, s.Create(t.Context(), namespaceOf("legacy", meta{Labels: label("enabled"), Annotations: map[string]string{intent.AnnotationMode: "sidcar"}})))
	mode := said("annotation spiffe.io/mode of namespace legacy: expected gateway, or one or several of sidecar, socket and files")
	required := said("namespace legacy requires injection from now on: whoever opts out, or cannot have it, is denied with the next pod; " +
		"spire-injector check --if legacy=required says whom that hurts")
	for _, test := range []struct {
		patch string
		want  []string
	}{
		{`{"metadata": {"labels": {"a": "b"}}}`, []string{mode}},
		{`{"metadata": {"finalizers": []}}`, nil},
		{`{"metadata": {"annotations": {"spiffe.io/mode": null}}}`, nil},
		{`{"metadata": {"labels": {"spiffe.io/inject": "required"}}}`, []string{required}},
		{`{"metadata": {"annotations": {"a": "b"}}}`, nil},
	} {
		got := a.hears(func() error {
			return a.Patch(t.Context(), namespaceOf("legacy", meta{}), client.RawPatch(types.MergePatchType, []byte(test.patch)))
		})
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.patch, diff)
		}
	}
}

func manyUnknown(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("spiffe.io/unknown-%030d", i)] = "x"
	}
	return all
}

func testExcluded(t *testing.T, s *apiServer, a *author) {
	const text = "namespace kube-system is excluded (by the webhooks' namespaceSelector); the label spiffe.io/inject does nothing there"
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "kube-system", "default"
	if err := s.Create(t.Context(), account); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	of := func(binding string) []string {
		return []string{fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy 'spire-injector-excluded' with binding '%s': %s", binding, text)}
	}
	pod := func(labels string) []byte {
		return []byte(`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: kube-system, labels: {` + labels + `}}, spec: {containers: [{name: c, image: c}]}}`)
	}
	enabled := authored{template: meta{Labels: label("enabled")}}
	s.eventually(t, "the policy", func() error {
		if len(a.creates(t, enabled.of(t, deploymentKind, "kube-system"))) == 0 {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	for name, test := range map[string]struct {
		manifest []byte
		want     []string
	}{
		"a Deployment":          {enabled.of(t, deploymentKind, "kube-system"), of("spire-injector-excluded-workloads")},
		"a CronJob":             {enabled.of(t, "batch/v1/CronJob", "kube-system"), of("spire-injector-excluded-workloads")},
		"a Pod":                 {pod("spiffe.io/inject: enabled"), of("spire-injector-excluded")},
		"a Pod that opts out":   {pod("spiffe.io/inject: disabled"), nil},
		"a Pod without a label": {pod("a: b"), nil},
		"a plain Deployment":    {authored{}.of(t, deploymentKind, "kube-system"), nil},
	} {
		if diff := cmp.Diff(test.want, a.creates(t, test.manifest), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got := a.hears(func() error {
		return a.Patch(t.Context(), namespaceOf("kube-system", meta{}), client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata": {"labels": {"spiffe.io/inject": "enabled"}}}`)), client.DryRunAll)
	})
	if diff := cmp.Diff(of("spire-injector-excluded"), got); diff != "" {
		t.Errorf("the Namespace (-want +got):\n%s", diff)
	}
}

// Who writes pods by hand is told by a denial.
func testPodsByHand(t *testing.T, s *apiServer, a *author) {
	pod := func(metadata string) []byte {
		return []byte(`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: said, ` + metadata + `}, spec: {containers: [{name: c, image: c}]}}`)
	}
	by := func(policy, binding, text string) []string {
		return []string{fmt.Sprintf(`pods "p" is forbidden: ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s`, policy, binding, text)}
	}
	for metadata, want := range map[string][]string{
		`annotations: {spiffe.io/inject: enabled}`: by("spire-injector-by-hand", "spire-injector-by-hand",
			"annotation spiffe.io/inject: is a label, not an annotation; move it to labels"),
		`labels: {spiffe.io/inject: ""}`: by("spire-injector", "spire-injector-labelled",
			`label spiffe.io/inject: expected "enabled" or "disabled", got ""`),
		`annotations: {spiffe.io/inject: enabled}, labels: {pod-template-hash: x}`: nil,
	} {
		if diff := cmp.Diff(want, a.creates(t, pod(metadata)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metadata, diff)
		}
	}

	stored := decoded(t, pod("labels: {app: x}"))
	must(t, s.Create(t.Context(), stored))
	defer s.remove(t, stored.Object)
	patch := func(value string) []string {
		return a.hears(func() error {
			return a.Patch(t.Context(), stored.DeepCopy(), client.RawPatch(types.MergePatchType,
				[]byte(`{"metadata": {"labels": {"spiffe.io/inject": "`+value+`"}}}`)), client.DryRunAll)
		})
	}
	want := by("spire-injector-changes", "spire-injector-changes", `label spiffe.io/inject: expected "enabled" or "disabled", got "true"`)
	if diff := cmp.Diff(want, patch("true")); diff != "" {
		t.Errorf("labelled later (-want +got):\n%s", diff)
	}
	if got := patch("disabled"); len(got) > 0 {
		t.Errorf("opting out later: %q", got)
	}
}
