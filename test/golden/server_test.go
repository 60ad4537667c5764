package golden

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/clientcert"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// manifests are what the injector registers itself with; only where it listens is changed.
const manifests = "../../manifests/injector/base"

// apiServer is a real one, with etcd and without kubelets, that asks this process as it asks the injector in a cluster.
type apiServer struct {
	client.Client
	config   *rest.Config
	webhooks *httptest.Server

	mu       sync.Mutex
	injector inject.Injector // what the webhooks decide with
	another  inject.Injector // what /validate-pod decides with
	spire    *recorder
	services []intent.Service    // that /mutate-pod and /validate-workload go by
	handed   []admission.Request // that /mutate-pod was asked
	answered []admission.Response

	validated atomic.Int64 // requests to /validate-pod
}

// startAPIServer runs the programs that the test cluster runs, building them when the cache lacks them.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	programs, err := parts.Ensure(t.Context(), cache, parts.ForCluster, os.Stderr)
	must(t, err)
	environment := standalone.APIServer(programs)
	// As in every cluster, pods get a service account and its token.
	flags := environment.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins")
	s := &apiServer{spire: &recorder{}}
	scheme := runtime.NewScheme()
	must(t, corev1.AddToScheme(scheme))
	caller := newCaller(t)
	s.serveWebhooks(t, filepath.Join(caller, "caller.crt"))
	flags.Set("admission-control-config-file", configureCaller(t, caller, s.webhooks.URL))
	config, err := environment.Start()
	must(t, err)
	t.Cleanup(func() { must(t, environment.Stop()) })
	config.WarningHandler = rest.NoWarnings{}
	s.config = config
	s.Client, err = client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	s.register(t)
	return s
}

// serveWebhooks answers nobody but callers of a CA, as the injector does when it is told one.
func (s *apiServer) serveWebhooks(t *testing.T, clientCA string) {
	t.Helper()
	callers, err := clientcert.New(clientCA, nil)
	must(t, err)
	namespaces := webhook.Namespaces{Cached: s, Direct: s}
	withServices := andServices{namespaces, s}
	injector := func() inject.Injector {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.injector
	}
	mux := http.NewServeMux()
	mux.Handle("/mutate-pod", webhook.Reviews{Webhook: &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, req admission.Request) admission.Response {
		s.mu.Lock()
		spire := s.spire
		s.mu.Unlock()
		res := (&webhook.Handler{Injector: injector, Registrar: spire, Namespaces: withServices}).Handle(ctx, req)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handed, s.answered = append(s.handed, req), append(s.answered, res)
		return res
	})}})
	validating := func() inject.Injector {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.another
	}
	validator := &webhook.Validator{Injector: validating, Namespaces: namespaces}
	mux.Handle("/validate-pod", webhook.Reviews{Webhook: &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, req admission.Request) admission.Response {
		s.validated.Add(1)
		return validator.Handle(ctx, req)
	})}})
	mux.Handle("/validate-workload", webhook.Reviews{Webhook: &admission.Webhook{Handler: &webhook.WorkloadValidator{Injector: injector, Namespaces: withServices}}})
	mux.Handle("/cloud", addToAll("AWS_ROLE_ARN"))
	mux.Handle("/stranger", addToAll("LD_PRELOAD"))
	s.webhooks = httptest.NewUnstartedServer(callers.Wrap(mux))
	s.webhooks.TLS = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	s.webhooks.StartTLS() // which adds the certificate
	callers.Configure(s.webhooks.TLS)
	t.Cleanup(s.webhooks.Close)
}

// andServices are namespaces with the Services of the case that is played.
type andServices struct {
	webhook.NamespaceReader
	of *apiServer
}

func (n andServices) Namespace(ctx context.Context, name string) (intent.Namespace, error) {
	return n.with(n.NamespaceReader.Namespace(ctx, name))
}

func (n andServices) Live(ctx context.Context, name string) (intent.Namespace, error) {
	return n.with(n.NamespaceReader.Live(ctx, name))
}

func (n andServices) with(ns intent.Namespace, err error) (intent.Namespace, error) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	ns.Services = n.of.services
	return ns, err
}

// authority is what the API server verifies our webhooks by.
func (s *apiServer) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.webhooks.Certificate().Raw})
}

// barrier refuses a ConfigMap until the API server's admission knows the label of its namespace.
const barrier = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: barrier}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]}
  validations:
  - expression: "has(object.data) && object.data['case'] == namespaceObject.metadata.labels['case']"
    message: not yet
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: barrier}
spec: {policyName: barrier, validationActions: [Deny]}
`

// register applies the injector's own manifests, and waits until the API server acts on them.
func (s *apiServer) register(t *testing.T) {
	t.Helper()
	documents := []byte(barrier)
	for _, file := range []string{"webhook.yaml", "webhook-validating.yaml", "policy.yaml", "policy-authors.yaml"} {
		data, err := os.ReadFile(filepath.Join(manifests, file))
		must(t, err)
		documents = append(append(documents, "\n---\n"...), data...)
	}
	for _, document := range bytes.Split(documents, []byte("\n---\n")) {
		var object map[string]any
		mustUnmarshal(t, document, &object)
		hooks, _ := object["webhooks"].([]any)
		for _, hook := range hooks {
			config := hook.(map[string]any)["clientConfig"].(map[string]any)
			path := config["service"].(map[string]any)["path"].(string)
			hook.(map[string]any)["clientConfig"] = map[string]any{"url": s.webhooks.URL + path, "caBundle": s.authority()}
		}
		data, err := yaml.Marshal(object) // which encodes the bundle as the API has it
		must(t, err)
		must(t, s.Create(t.Context(), decoded(t, data)))
	}
	s.prepare(t, intent.Namespace{Name: "default"}, "start")
	pod := func(label string) []byte {
		return []byte(`{metadata: {name: p, namespace: default, labels: {` + label + `}}, spec: {containers: [{name: c, image: c}]}, apiVersion: v1, kind: Pod}`)
	}
	probes, done := s.probes(t)
	defer done()
	for _, probe := range probes {
		s.eventually(t, "the policies", deniedByPolicy(probe, true))
	}
	s.eventually(t, "the webhook", func() error {
		_, err := s.create(t, pod(intent.LabelInject+": enabled"), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "admission webhook") {
			return fmt.Errorf("expected a refusal of the webhook, got %w", err)
		}
		return nil
	})
}

// prepare makes a namespace be as it should be, with its service accounts, and waits until the API server's admission
// sees it so.
func (s *apiServer) prepare(t *testing.T, ns intent.Namespace, name string, accounts ...string) {
	t.Helper()
	object := &corev1.Namespace{}
	object.Name, object.Labels, object.Annotations = ns.Name, map[string]string{"case": name}, ns.Annotations
	for key, value := range ns.Labels {
		object.Labels[key] = value
	}
	if err := s.Create(t.Context(), object); apierrors.IsAlreadyExists(err) {
		must(t, s.Update(t.Context(), object))
	} else {
		must(t, err)
	}
	for _, account := range append(accounts, "default") {
		object := &corev1.ServiceAccount{}
		object.Namespace, object.Name = ns.Name, account
		if err := s.Create(t.Context(), object); !apierrors.IsAlreadyExists(err) {
			must(t, err)
		}
	}
	s.eventually(t, "the namespace", func() error {
		object := &corev1.ConfigMap{Data: map[string]string{"case": name}}
		object.Namespace, object.Name = ns.Name, "barrier"
		right := s.Create(t.Context(), object, client.DryRunAll)
		object.ResourceVersion, object.UID = "", ""
		object.Data["case"] = "another"
		if wrong := s.Create(t.Context(), object, client.DryRunAll); wrong == nil {
			return fmt.Errorf("the barrier lets everything pass")
		}
		return right
	})
}

// create creates an object and returns it as it is stored, or would be in a dry run.
func (s *apiServer) create(t *testing.T, manifest []byte, options ...client.CreateOption) (map[string]any, error) {
	t.Helper()
	object := decoded(t, manifest)
	err := s.Create(t.Context(), object, options...)
	return object.Object, err
}

// remove deletes a pod at once: nothing runs it.
func (s *apiServer) remove(t *testing.T, pod map[string]any) {
	t.Helper()
	must(t, s.Delete(t.Context(), &unstructured.Unstructured{Object: pod}, client.GracePeriodSeconds(0)))
}

// use lets the webhooks decide with another injector, and forgets what they did.
func (s *apiServer) use(injector inject.Injector) {
	injector.Decisions = inject.NewDecisions()
	s.useTwo(injector, injector)
}

// useTwo is use of one injector that injects and of another one that validates, as replicas of two versions do.
func (s *apiServer) useTwo(injecting, validating inject.Injector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injector, s.another = injecting, validating
	s.spire, s.services, s.handed, s.answered = &recorder{}, nil, nil, nil
}

// goBy has the webhooks see Services, until the next call of use.
func (s *apiServer) goBy(services []intent.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services = services
}

// eventually asks until there is no error.
func (s *apiServer) eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func decoded(t *testing.T, manifest []byte) *unstructured.Unstructured {
	t.Helper()
	var object map[string]any
	data, err := yaml.YAMLToJSON(manifest)
	must(t, err)
	must(t, json.Unmarshal(data, &object))
	return &unstructured.Unstructured{Object: object}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
