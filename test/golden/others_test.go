package golden

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// addToAll answers as webhooks of clouds do: every container gets a variable, and another container comes first.
func addToAll(variable string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var pod corev1.Pod
		if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		patch := []map[string]any{}
		add := func(path string, value any) {
			patch = append(patch, map[string]any{"op": "add", "path": path, "value": value})
		}
		for list, containers := range map[string][]corev1.Container{
			"initContainers": pod.Spec.InitContainers, "containers": pod.Spec.Containers,
		} {
			for i, c := range containers {
				if len(c.Env) == 0 {
					add(fmt.Sprintf("/spec/%s/%d/env", list, i), []corev1.EnvVar{{Name: variable, Value: "x"}})
				}
			}
		}
		if n := len(pod.Spec.InitContainers); n > 0 && pod.Spec.InitContainers[n-1].Name == intent.SidecarName {
			add("/spec/initContainers/0", corev1.Container{Name: "others", Image: "others:1", Env: []corev1.EnvVar{{Name: variable}}})
		}
		data, err := json.Marshal(patch)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Allowed: true, Patch: data, PatchType: new(admissionv1.PatchTypeJSONPatch),
		}
		_ = json.NewEncoder(w).Encode(review)
	})
}

// registerAnother registers a webhook of somebody else's for the pods of one namespace.
func (s *apiServer) registerAnother(t *testing.T, name, path, namespace string) {
	t.Helper()
	object, err := s.create(t, []byte(fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: %s},
		webhooks: [{name: pod.other.io, admissionReviewVersions: [v1], sideEffects: None, reinvocationPolicy: IfNeeded, failurePolicy: Fail,
		clientConfig: {url: %q, caBundle: %q},
		rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}],
		namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}]}`, name, s.webhooks.URL+path, base64.StdEncoding.EncodeToString(s.authority()), namespace)))
	must(t, err)
	t.Cleanup(func() { must(t, s.Delete(context.Background(), &unstructured.Unstructured{Object: object})) })
}

// What admission in a cluster adds to a pod beside us goes where it belongs, and nothing of it into our containers but
// the requests and limits of a LimitRange.
func testOthers(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform([]byte(strings.ReplaceAll(string(defaultPlatform),
		"  resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 256Mi}}\n", "  resources: {requests: {memory: 64Mi}}\n")))
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	for _, test := range []struct{ name, configuration, path, refused string }{
		{"a cloud's webhook that comes first", "a-cloud", "/cloud", ""},
		// It comes after us in the second round too, so that nobody takes away what it adds.
		{"a cloud's webhook that comes last", "z-cloud", "/cloud", "another webhook perhaps"},
		{"another one", "a-stranger", "/stranger", "container envoy, env: is not what the webhook writes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := intent.Namespace{Name: "with-" + test.configuration}
			s.prepare(t, ns, test.configuration)
			s.registerAnother(t, test.configuration, test.path, ns.Name)
			s.limit(t, ns.Name)
			manifest := func(more string) []byte {
				return []byte(`{apiVersion: v1, kind: Pod, metadata: {generateName: api-, namespace: ` + ns.Name + `, ` + more + `},
					spec: {initContainers: [{name: first, image: first}], containers: [{name: app, image: app}]}}`)
			}
			s.eventually(t, "the other webhook and the LimitRange", func() error {
				stored, err := s.create(t, manifest("labels: {app: plain}"), client.DryRunAll)
				if err != nil {
					return err
				}
				var pod corev1.Pod
				mustUnmarshal(t, asJSON(t, stored), &pod)
				if c := pod.Spec.Containers[0]; len(c.Env) == 0 || c.Resources.Requests.Cpu().IsZero() {
					return fmt.Errorf("the app has the variables %v and the resources %v", c.Env, c.Resources)
				}
				return nil
			})
			stored, err := s.create(t, manifest(`labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}`))
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("expected a refusal with %q, got %v", test.refused, err)
				}
				return
			}
			must(t, err)
			defer s.remove(t, stored)
			var pod corev1.Pod
			mustUnmarshal(t, asJSON(t, stored), &pod)
			envoy := pod.Spec.InitContainers[0]
			if envoy.Name != intent.SidecarName || len(envoy.Env) > 0 {
				t.Errorf("expected Envoy first and without variables, got %s with %v", envoy.Name, envoy.Env)
			}
			if envoy.Resources.Limits.Memory().String() != "512Mi" || envoy.Resources.Requests.Memory().String() != "64Mi" ||
				envoy.Resources.Requests.Cpu().String() != "20m" {
				t.Errorf("expected the platform's request, and for the rest those of the LimitRange, got %v", envoy.Resources)
			}
			if app := pod.Spec.Containers[0]; len(app.Env) != 1 {
				t.Errorf("the app has the variables %v", app.Env)
			}
		})
	}
}

// limit gives containers of a namespace a request and a limit that they leave open.
func (s *apiServer) limit(t *testing.T, namespace string) {
	t.Helper()
	limits := &corev1.LimitRange{}
	limits.Namespace, limits.Name = namespace, "limits"
	limits.Spec.Limits = []corev1.LimitRangeItem{{
		Type:           corev1.LimitTypeContainer,
		Default:        corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		DefaultRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m")},
	}}
	must(t, s.Create(t.Context(), limits))
}

// Nobody can bring along more than injection makes: what a server-side dry run shows to a tenant, with additions.
func testForgeries(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	ns := intent.Namespace{Name: "forgeries", Labels: map[string]string{intent.LabelInject: intent.InjectRequired}}
	s.prepare(t, ns, "forgeries")
	app := `containers: [{name: app, image: "app:1", livenessProbe: {httpGet: {path: /live, port: 8080}}}], volumes: [{name: mine, emptyDir: {}}]`
	tried := map[string]bool{}
	for name, pod := range map[string]string{
		"sidecar": `annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web, spiffe.io/upstreams:
			"[{listen: 8000, address: \"db.demo.svc:8443\", peers: [/db], jwt: {audience: db}}, {listen: 8001, address: \"db.example.org:443\", tls: {ca: {secret: db}}}]"}}, spec: {` + app + `}`,
		"captured": `annotations: {spiffe.io/capture: inbound, spiffe.io/allowed-peers: /web}}, spec: {containers:
			[{name: app, image: "app:1", ports: [{containerPort: 8080}]}], volumes: [{name: mine, emptyDir: {}}]}`,
		"gateway": `annotations: {spiffe.io/mode: gateway, spiffe.io/inbound: "[{listen: 8443, peers: [/web], certificate: {secret: s}}]", spiffe.io/upstreams:
			"[{match: /, address: \"db.demo.svc:8443\", peers: [/db]}]"}}, spec: {containers: [{name: envoy, image: auto}], volumes: [{name: mine, emptyDir: {}}]}`,
		"socket": `annotations: {spiffe.io/mode: "sidecar,socket", spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}}, spec: {` + app + `}`,
		"files":  `annotations: {spiffe.io/mode: "sidecar,files", spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}}, spec: {securityContext: {runAsUser: 999}, ` + app + `}`,
	} {
		manifest := []byte(`{apiVersion: v1, kind: Pod, metadata: {generateName: ` + name + `-, namespace: forgeries, ` + pod + `}`)
		shown, err := s.create(t, manifest, client.DryRunAll)
		must(t, err)
		var injected corev1.Pod
		mustUnmarshal(t, asJSON(t, shown), &injected)
		injected.UID, injected.ResourceVersion, injected.Name = "", "", ""
		if err := s.Create(t.Context(), injected.DeepCopy(), client.DryRunAll); err != nil {
			t.Fatalf("%s, as it was injected: %v", name, err)
		}
		for what, forge := range allForgeries() {
			forged := injected.DeepCopy()
			if !forge(forged) {
				continue
			}
			tried[what] = true
			if err := s.Create(t.Context(), forged, client.DryRunAll); err == nil {
				t.Errorf("%s, %s: expected a refusal", name, what)
			} else if _, isSmuggled := smuggled[what]; isSmuggled && !strings.Contains(err.Error(), "denied the request") {
				t.Logf("%s, %s: %v", name, what, err) // the API server has something against it too
			}
		}
	}
	for what := range smuggled {
		if !tried[what] {
			t.Errorf("%s: no pod has what it adds to", what)
		}
	}
}

func asJSON(t *testing.T, object any) []byte {
	t.Helper()
	data, err := json.Marshal(object)
	must(t, err)
	return data
}
