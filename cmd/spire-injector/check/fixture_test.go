package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// now is the time of all tests.
func now() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// cluster is an API server with the manifests that people apply, and what comes into being of them.
type cluster struct {
	*fake.Clientset
	pages map[string]string // of pods, by pod, port and path; others do not answer
}

const (
	leaderName   = "spire-injector-1"
	followerName = "spire-injector-2"
)

// healthy is a cluster on which everything is as it should be.
func healthy(t *testing.T) *cluster {
	t.Helper()
	objects := append(manifest(t, "spire/base", "spire", "server.yaml", "agent.yaml"),
		manifest(t, "injector/base", "spire-injector", "deployment.yaml", "webhook.yaml", "webhook-validating.yaml", "policy.yaml",
			"policy-authors.yaml")...)
	objects = append(objects,
		configMap("spire", "spire-server", "server.conf", file(t, "spire/base/server.conf")),
		configMap("spire", "spire-agent", "agent.conf", file(t, "spire/base/agent.conf")),
		configMap("spire-injector", "spire-injector-config", "config.yaml", file(t, "injector/base/config.yaml")),
		configMap("kube-system", "coredns", "Corefile", ".:53 {\n  kubernetes cluster.local {\n    ttl 5\n  }\n  cache 30\n}\n"),
		node("node-1"),
		pod("spire", "spire-agent-1", map[string]string{"app.kubernetes.io/name": "spire-agent"}, corev1.Container{Name: "spire-agent", Image: "spiffe/spire-agent:1.15.3"}),
		pod("spire-injector", leaderName, map[string]string{"app.kubernetes.io/name": "spire-injector"}),
		pod("spire-injector", followerName, map[string]string{"app.kubernetes.io/name": "spire-injector"}),
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "spire-injector", Name: "spire-injector"},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: new(leaderName + "_b5c9"), LeaseDurationSeconds: new(int32(15)),
				RenewTime: &metav1.MicroTime{Time: now().Add(-2 * time.Second)}},
		},
	)
	for _, name := range []string{"default", "kube-system", "spire", "spire-injector", "shop"} {
		objects = append(objects, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}},
			Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
		})
	}
	run(t, objects)
	for _, object := range objects {
		if p, ok := object.(*corev1.Pod); ok && p.Namespace == "spire-injector" {
			p.Status.PodIPs = []corev1.PodIP{{IP: "10.244.0.7"}}
		}
	}
	c := &cluster{fake.NewClientset(objects...), map[string]string{}}
	c.Discovery().(*discoveryfake.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: "v1.36.3"}
	c.pages[leaderName+":8080/metrics"] = followerMetrics() + leaderMetrics()
	c.pages[followerName+":8080/metrics"] = followerMetrics()
	c.AddProxyReactor("pods", func(action clienttesting.Action) (bool, rest.ResponseWrapper, error) {
		get := action.(clienttesting.ProxyGetAction)
		text, ok := c.pages[get.GetName()+":"+get.GetPort()+get.GetPath()]
		return true, answer{text, ok}, nil
	})
	c.answers(`admission webhook "pod.injector.spiffe.io" denied the request: annotation ` + intent.AnnotationAppPort + ": expected a port")
	return c
}

// run gives objects what comes into being when they are applied.
func run(t *testing.T, objects []runtime.Object) {
	t.Helper()
	ca := authority(t, now().Add(time.Hour))
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.StatefulSet:
			o.Status.ReadyReplicas = 1
		case *appsv1.DaemonSet:
			o.Status.DesiredNumberScheduled, o.Status.NumberReady = 1, 1
		case *admissionregistrationv1.MutatingWebhookConfiguration:
			for i := range o.Webhooks {
				o.Webhooks[i].ClientConfig.CABundle = ca
			}
		case *admissionregistrationv1.ValidatingWebhookConfiguration:
			for i := range o.Webhooks {
				o.Webhooks[i].ClientConfig.CABundle = ca
			}
		}
	}
}

// answers has the API server refuse the trial so.
func (c *cluster) answers(text string) {
	c.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New(text))
	})
}

// gather reads the facts of the cluster.
func (c *cluster) gather(t *testing.T) Facts {
	t.Helper()
	return c.gatherAs(t, Names{Namespace: "spire-injector", SPIRE: "spire"})
}

// gatherAs reads the facts about one of several injectors.
func (c *cluster) gatherAs(t *testing.T, names Names) Facts {
	t.Helper()
	return Gatherer{
		Client: c, Names: names, Now: now,
		Settings: func(arguments []string) (Settings, error) {
			s := Settings{Config: "/etc/spire-injector/config.yaml", Webhooks: "spire-injector", Lease: "spire-injector",
				MetricsPort: "8080", HealthPort: "8081", Resync: 5 * time.Minute, RolloutRate: 1}
			if name, ok := argument(arguments, "webhook-configuration"); ok {
				s.Webhooks = name
			}
			return s, nil
		},
		Hash: func(file []byte) float64 { return float64(len(file)) },
	}.Gather(t.Context())
}

// answer is a page of a pod.
type answer struct {
	text string
	ok   bool
}

func (a answer) DoRaw(context.Context) ([]byte, error) {
	if !a.ok {
		return nil, errors.New("connection refused")
	}
	if strings.Contains(a.text, "[-]") {
		return []byte(a.text), errors.New("an error on the server")
	}
	return []byte(a.text), nil
}

func (a answer) Stream(context.Context) (io.ReadCloser, error) {
	return nil, errors.New("not asked for")
}

func followerMetrics() string {
	config, err := os.ReadFile(filepath.Join(manifests, "injector/base/config.yaml"))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`# TYPE spire_injector_build_info gauge
spire_injector_build_info{version="v1.2.3"} 1
# TYPE spire_injector_config_hash gauge
spire_injector_config_hash %d
# TYPE spire_injector_config_last_reload_successful gauge
spire_injector_config_last_reload_successful 1
# TYPE spire_injector_serving_certificate_expiry_timestamp_seconds gauge
spire_injector_serving_certificate_expiry_timestamp_seconds %d
# TYPE spire_injector_svid_expiry_timestamp_seconds gauge
spire_injector_svid_expiry_timestamp_seconds %d
# TYPE spire_injector_spire_requests_total counter
spire_injector_spire_requests_total{code="OK",method="BatchCreateEntry"} 97
spire_injector_spire_requests_total{code="AlreadyExists",method="BatchCreateEntry"} 2
spire_injector_spire_requests_total{code="Unavailable",method="ListEntries"} 1
`, len(config), now().Add(30*24*time.Hour).Unix(), now().Add(50*time.Minute).Unix())
}

func leaderMetrics() string {
	return fmt.Sprintf(`# TYPE spire_injector_entries gauge
spire_injector_entries{state="wanted"} 4
spire_injector_entries{state="registered"} 5
spire_injector_entries{state="orphaned"} 1
spire_injector_entries{state="missing"} 0
spire_injector_entries{state="refused"} 0
spire_injector_entries{state="without_bundle"} 0
# TYPE spire_injector_rows gauge
spire_injector_rows{state="wanted"} 6
spire_injector_rows{state="registered"} 7
spire_injector_rows{state="orphaned"} 1
spire_injector_rows{state="missing"} 0
spire_injector_rows{state="refused"} 0
# TYPE spire_injector_entry_changes_total counter
spire_injector_entry_changes_total{action="create",reason="EntryDeletedByOthers",result="success"} 0
# TYPE spire_injector_reconcile_last_success_timestamp_seconds gauge
spire_injector_reconcile_last_success_timestamp_seconds %d
# TYPE spire_injector_rollout_paused gauge
spire_injector_rollout_paused 0
# TYPE spire_injector_rollout_pods gauge
spire_injector_rollout_pods{state="outdated"} 0
spire_injector_rollout_pods{state="rejected"} 0
spire_injector_rollout_pods{state="needs_new_pod"} 0
spire_injector_rollout_pods{state="invalid"} 0
`, now().Add(-2*time.Minute).Unix())
}

const manifests = "../../../manifests"

func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// manifest are the objects of some files of a kustomization, in its namespace.
func manifest(t *testing.T, folder, namespace string, files ...string) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	for _, name := range files {
		decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(file(t, folder+"/"+name)), 4096)
		for {
			var raw runtime.RawExtension
			if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(object.GetObjectKind().GroupVersionKind().Group, "admissionregistration") {
				accessor, err := meta.Accessor(object)
				if err != nil {
					t.Fatal(err)
				}
				accessor.SetNamespace(namespace)
			}
			out = append(out, object)
		}
	}
	return out
}

func configMap(namespace, name, key, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: text}}
}

func node(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
}

func pod(namespace, name string, labels map[string]string, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: containers},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// authority is a CA that is valid until some time.
func authority(t *testing.T, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// injected is a pod of an API in the namespace shop after injection, whose app declares ports.
func injected(t *testing.T, ports ...int32) *corev1.Pod {
	t.Helper()
	p, err := intent.ParsePlatform([]byte(file(t, "injector/base/config.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	app := corev1.Container{Name: "app", Image: "app"}
	for _, port := range ports {
		app.Ports = append(app.Ports, corev1.ContainerPort{ContainerPort: port})
	}
	asks := pod("shop", "api-1", map[string]string{intent.LabelInject: intent.InjectEnabled}, app)
	asks.Annotations = map[string]string{intent.AnnotationAppPort: "8080", intent.AnnotationAllowedPeers: "/ns/shop/*"}
	asks.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "api", UID: "1", Controller: new(true)}}
	res, err := inject.Injector{Platform: p, Version: "v1.2.3"}.Inject(intent.Namespace{Name: "shop"}, asks)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}
