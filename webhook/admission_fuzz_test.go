package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/test/golden"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func isRefusal(err error) bool {
	var r *intent.Refusal
	return errors.As(err, &r)
}

// FuzzAdmission sends whole pods in whole namespaces, from what the golden cases have on.
func FuzzAdmission(f *testing.F) {
	cases, err := golden.Read("../test/golden/cases")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		pod, err := yaml.YAMLToJSON(c.Pod)
		if err != nil {
			f.Fatal(err)
		}
		ns, err := yaml.YAMLToJSON(c.Namespace)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pod, ns, c.Kubernetes)
	}
	f.Fuzz(func(t *testing.T, pod, namespace []byte, kubernetes string) {
		var ns corev1.Namespace
		var p corev1.Pod
		if json.Unmarshal(namespace, &ns) != nil || json.Unmarshal(pod, &p) != nil {
			return // the API server lets no such thing pass
		}
		version, err := inject.ParseKubernetesVersion(kubernetes)
		if err != nil {
			version = inject.KubernetesVersion{}
		}
		checkAdmission(t, inject.Injector{Platform: fuzzPlatform(t), Version: "test", Kubernetes: version},
			intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}, &p)
	})
}

// FuzzAnnotations writes every annotation that has a grammar of its own on a pod that has probes, hooks and ports.
func FuzzAnnotations(f *testing.F) {
	f.Add(
		"sidecar",
		"8080",
		"/web",
		"",
		`[{listen: 8000, address: "a:1", peers: [/a]}]`,
		"enforce",
		"",
		"/ns/demo/x",
		"",
		"1h",
		"{}",
		"1",
	)
	f.Add(
		"gateway",
		"",
		"",
		"- {listen: 8443, peers: [/web]}\n- {listen: 80, tls: none}",
		`[{match: /, address: "a:1", peers: [/a]}]`,
		"audit",
		"auxiliary.org",
		"/api",
		"",
		"30s",
		"",
		"",
	)
	f.Add(
		"sidecar,socket",
		"",
		"/web",
		"- {listen: 8443, app: 8080, protocol: grpc, tls: permissive}",
		"",
		"audit",
		"auxiliary.org",
		"",
		"api.example.org",
		"10s",
		"{limits: {cpu: 1}}",
		"2",
	)
	f.Add("sidecar", "", "", "- {listen: 8443, app: 8080, tls: none, jwt: {subjects: [/web], audiences: [/api, a]}}",
		`[{listen: 8000, address: "a:1", peers: [/a], jwt: {}}]`, "audit", "auxiliary.org", "/ns/demo/x", "", "30s", "", "1")
	f.Add("sidecar", "", "", "", `[{listen: 8000, address: "a:1", tls: {ca: {secret: a}, sni: b, clientCertificate: svid}}]`,
		"", "", "/ns/demo/x", "", "30s", "", "1")
	f.Add("socket", "", "", "", "", "", "a b", "spiffe://example.org/api", "a.b", "9s", "", "64")
	f.Fuzz(
		func(
			t *testing.T,
			mode, port, peers, inbound, upstreams, enforcement, federates, id, dnsNames, ttl, resources, concurrency string,
		) {
			pod := busy()
			if strings.Contains(mode, "gateway") {
				pod.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: intent.SidecarName, Image: "auto"}}}
			}
			for key, value := range map[string]string{
				intent.AnnotationMode:             mode,
				intent.AnnotationAppPort:          port,
				intent.AnnotationAllowedPeers:     peers,
				intent.AnnotationInbound:          inbound,
				intent.AnnotationUpstreams:        upstreams,
				intent.AnnotationEnforcement:      enforcement,
				intent.AnnotationFederatesWith:    federates,
				intent.AnnotationSPIFFEID:         id,
				intent.AnnotationDNSNames:         dnsNames,
				intent.AnnotationX509SVIDTTL:      ttl,
				intent.AnnotationProxyResources:   resources,
				intent.AnnotationProxyConcurrency: concurrency,
			} {
				if value != "" {
					pod.Annotations[key] = value
				}
			}
			checkAdmission(t, inject.Injector{Platform: fuzzPlatform(t), Version: "test"}, intent.Namespace{Name: "demo"}, pod)
		},
	)
}

// FuzzStatus forges the status of an injected pod: what cannot be undone by it is no injected pod.
func FuzzStatus(f *testing.F) {
	f.Add(`{}`)
	f.Add(
		`{"mode":"gateway","probes":{"app/liveness":{"exec":{"command":["x"]}},"x/y":{}},` +
			`"draining":["app","none"],"gracePeriod":-1}`,
	)
	f.Add(`{"probes":{"app/liveness":{}},"draining":["envoy"],"gracePeriod":null}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, status string) {
		injector := inject.Injector{Platform: fuzzPlatform(t), Version: "test"}
		pod := busy()
		pod.Annotations[intent.AnnotationAppPort], pod.Annotations[intent.AnnotationAllowedPeers] = "8080", "/web"
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatal(err)
		}
		forged := res.Pod.DeepCopy()
		forged.Annotations[intent.AnnotationStatus] = status
		checkAdmission(t, injector, intent.Namespace{Name: "demo"}, forged)
		plain := forged.DeepCopy()
		plain.Labels = nil
		checkAdmission(t, injector, intent.Namespace{Name: "demo"}, plain)
	})
}

// FuzzUpdate changes a running pod's annotations: only what is generated follows.
func FuzzUpdate(f *testing.F) {
	for key, example := range intent.Examples() {
		f.Add(key, example)
	}
	f.Add(intent.AnnotationAllowedPeers, "/other, /x/*")
	f.Add(intent.Prefix+"unknown", "x")
	f.Fuzz(func(t *testing.T, key, value string) {
		injector := inject.Injector{Platform: fuzzPlatform(t), Version: "test"}
		pod := busy()
		pod.Annotations[intent.AnnotationAppPort], pod.Annotations[intent.AnnotationAllowedPeers] = "8080", "/web"
		before, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatal(err)
		}
		after := before.Pod.DeepCopy()
		after.Annotations[key] = value
		res, err := injector.Update(intent.Namespace{Name: "demo"}, before.Pod, after)
		if err != nil {
			if !isRefusal(err) {
				t.Fatalf("%q=%q: expected a refusal, got %v", key, value, err)
			}
			return
		}
		for _, op := range inject.Patch(after, res.Pod) {
			if !strings.HasPrefix(op.Path, "/metadata/annotations/spiffe.io~1envoy-") {
				t.Errorf("%q=%q: %s", key, value, op.Json())
			}
		}
		if _, err := injector.ValidateUpdate(intent.Namespace{Name: "demo"}, before.Pod, res.Pod); err != nil {
			t.Errorf("%q=%q: the result is not valid: %v", key, value, err)
		}
	})
}

// busy is a pod with something of all that injection changes.
func busy() *corev1.Pod {
	var pod corev1.Pod
	if err := yaml.Unmarshal([]byte(`
metadata: {name: busy, labels: {spiffe.io/inject: enabled}, annotations: {other.io/x: y}}
spec:
  initContainers:
  - {name: init, image: i}
  - {name: log, image: i, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 9000}}}
  containers:
  - name: app
    image: i
    ports: [{name: http, containerPort: 8081}]
    livenessProbe: {httpGet: {port: http, path: "/live?x=y"}}
    readinessProbe: {grpc: {port: 9001}}
    lifecycle: {postStart: {exec: {command: [x]}}}
  - {name: other, image: i, lifecycle: {preStop: {exec: {command: [x]}}}}
`), &pod); err != nil {
		panic(err) // a mistake in the text above
	}
	return &pod
}

func fuzzPlatform(t *testing.T) intent.Platform {
	t.Helper()
	p, err := intent.ParsePlatform(
		[]byte(strings.NewReplacer("paths: [/api]", `paths: [/api, /team/*], dnsNames: ["*.example.org"], flags: [admin]`,
			"image: envoy", "image: envoy, jwt: {image: injector}").Replace(webhooktest.PlatformFile)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkAdmission sends a pod as the API server does. Either the answer is a refusal, and nothing is registered; or the
// patch makes a pod that the API machinery reads, that the function returns, and that comes back unchanged when it is
// sent again.
func checkAdmission(t *testing.T, injector inject.Injector, ns intent.Namespace, pod *corev1.Pod) {
	t.Helper()
	sent, err := runtimeJSON(pod)
	if err != nil {
		t.Fatal(err)
	}
	answer, registered := send(t, injector, ns, sent)
	if !answer.Allowed {
		if answer.Result.Code != http.StatusForbidden || len(answer.Patch) > 0 || len(registered) > 0 ||
			strings.Contains(answer.Result.Message, "Envoy's configuration") {
			t.Errorf(
				"expected a refusal that names the mistake, got %d %q, patch of %d bytes, registered %v",
				answer.Result.Code,
				answer.Result.Message,
				len(answer.Patch),
				registered,
			)
		}
		return
	}
	patched := sent
	if len(answer.Patch) > 0 {
		patch, err := jsonpatch.DecodePatch(answer.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if patched, err = patch.Apply(sent); err != nil {
			t.Fatalf("the patch does not fit: %v\n%s\n%s", err, answer.Patch, sent)
		}
	}
	var got corev1.Pod
	if unknown, err := kubejson.UnmarshalStrict(patched, &got); err != nil || len(unknown) > 0 {
		t.Fatalf("the patched pod is not strictly read: %v %v", unknown, err)
	}
	decoded := &corev1.Pod{}
	if err := json.Unmarshal(sent, decoded); err != nil {
		t.Fatal(err)
	}
	res, err := injector.Inject(ns, decoded)
	if err != nil {
		t.Fatalf("the webhook accepts the pod, the function does not: %v", err)
	}
	got.TypeMeta = res.Pod.TypeMeta
	if diff := cmp.Diff(asJSON(t, res.Pod), asJSON(t, &got)); diff != "" {
		t.Errorf("the patched pod is not the function's (-function +patched):\n%s", diff)
	}
	again, _ := send(t, injector, ns, patched)
	if !again.Allowed || len(again.Patch) > 0 || res.Inject && again.Result.Message != string(reason.AlreadyInjected) {
		t.Errorf("sent again: allowed=%t, %v, patch %s", again.Allowed, again.Result, again.Patch)
	}
	if res.Inject {
		if _, err := injector.Validate(ns, &got); err != nil {
			t.Errorf("the result is not valid: %v", err)
		}
		containers := slices.Concat(got.Spec.InitContainers, got.Spec.Containers)
		for _, w := range registered {
			if !slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == w.Container }) {
				t.Errorf("registered %+v, for no container of the pod", w)
			}
		}
	}
}

// send lets the handler answer, as it is encoded for the API server.
func send(
	t *testing.T,
	injector inject.Injector,
	ns intent.Namespace,
	pod []byte,
) (admission.Response, []registrar.Workload) {
	t.Helper()
	s := &spire{}
	h := &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  s,
		Namespaces: namespaces{cached: ns, live: ns},
	}
	req := admission.Request{
		AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create,
			Namespace: ns.Name,
			Object:    runtime.RawExtension{Raw: pod},
		},
	}
	res := h.Handle(context.Background(), req)
	if err := res.Complete(req); err != nil {
		t.Fatal(err)
	}
	return res, slices.Concat(s.calls...)
}

func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
