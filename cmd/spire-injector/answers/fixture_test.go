package answers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const platformFile = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: "envoyproxy/envoy:v1.40.0"}
quarantine: [/ns/shop/stolen]
`

// Annotations of a manifest by which a test says how the pods came about.
const (
	webhookAway = "test/webhook-away" // they were created while nobody was asked
	oldSidecar  = "test/old-sidecar"  // the image of their sidecar
	unready     = "test/unready"
	altered     = "test/altered" // somebody mounted a volume into their sidecar
)

func platform(t testing.TB) *intent.Platform {
	t.Helper()
	p, err := intent.ParsePlatform([]byte(platformFile))
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// serves is of webhooks whose namespaceSelector excludes kube-system.
func serves(labels map[string]string) bool { return labels[corev1.LabelMetadataName] != "kube-system" }

// objects are those of manifests.
func objects(t testing.TB, manifests string) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		out = append(out, object)
	}
	return out
}

// live is a cluster to which manifests were applied: their pods went through the webhook, and there are endpoints.
func live(t testing.TB, manifests string) *fake.Clientset {
	t.Helper()
	all := objects(t, manifests)
	namespaces := map[string]intent.Namespace{}
	for _, object := range all {
		if ns, ok := object.(*corev1.Namespace); ok {
			if ns.Labels == nil {
				ns.Labels = map[string]string{}
			}
			ns.Labels[corev1.LabelMetadataName] = ns.Name
			namespaces[ns.Name] = intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
		}
	}
	var pods []*corev1.Pod
	for _, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment:
			ns, ok := namespaces[o.Namespace]
			if !ok {
				ns = intent.Namespace{Name: o.Namespace}
			}
			for n := range orOne(o.Spec.Replicas) {
				if pod := admitted(t, ns, o, int(n)); pod != nil {
					pods, all = append(pods, pod), append(all, pod)
				}
			}
		case *corev1.Pod:
			pods = append(pods, o)
		}
	}
	for _, object := range all {
		if s, ok := object.(*corev1.Service); ok {
			all = append(all, sliceOf(s, pods))
		}
	}
	return fake.NewClientset(all...)
}

// admitted is a pod of a Deployment; nil if it is denied.
func admitted(t testing.TB, ns intent.Namespace, d *appsv1.Deployment, n int) *corev1.Pod {
	t.Helper()
	const hash = "5d8f9c"
	pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
	pod.Namespace = d.Namespace
	pod.Name = fmt.Sprintf("%s-%s-%d", d.Name, hash, n)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: d.Name + "-" + hash, UID: "1", Controller: new(true)}}
	ready := corev1.ConditionTrue
	if d.Annotations[unready] != "" {
		ready = corev1.ConditionFalse
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}
	pod.UID = types.UID(pod.Name)
	pod.CreationTimestamp = metav1.Time{Time: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	if d.Annotations[webhookAway] != "" || !serves(ns.Labels) {
		return pod
	}
	p := *platform(t)
	if image := d.Annotations[oldSidecar]; image != "" {
		p.Sidecar.Image = image
	}
	res, err := inject.Injector{Platform: p, Version: "v1.2.3"}.Inject(ns, pod)
	if err != nil {
		return nil
	}
	if d.Annotations[altered] != "" {
		c := &res.Pod.Spec.InitContainers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "more", MountPath: "/more"})
	}
	return res.Pod
}

// sliceOf has the endpoints of a Service, as Kubernetes finds them.
func sliceOf(s *corev1.Service, pods []*corev1.Pod) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}}}
	for _, p := range s.Spec.Ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: new(p.Name), Port: new(cmp.Or(p.TargetPort.IntVal, p.Port))})
	}
	for _, pod := range pods {
		selected := pod.Namespace == s.Namespace && len(s.Spec.Selector) > 0
		for key, value := range s.Spec.Selector {
			selected = selected && pod.Labels[key] == value
		}
		if selected {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
				Conditions: discoveryv1.EndpointConditions{Ready: new(Pod{Pod: pod}.ready())},
			})
		}
	}
	return slice
}

// gathered are the facts of a cluster.
func gathered(t testing.TB, cluster API) Facts {
	t.Helper()
	f := Facts{Platform: platform(t), Serves: serves}
	Gatherer{Client: cluster, Version: "v1.2.3"}.Gather(t.Context(), &f)
	for source, err := range f.Unread {
		t.Errorf("%s: %v", source, err)
	}
	return f
}

// written are the facts of manifests.
func written(t testing.TB, manifests string) Facts {
	t.Helper()
	f := Facts{Platform: platform(t)}
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		var kind metav1.TypeMeta
		if err := json.Unmarshal(data, &kind); err != nil {
			t.Fatal(err)
		}
		if err := f.Add("default", "test", kind.APIVersion+"/"+kind.Kind, data); err != nil {
			t.Fatal(err)
		}
	}
	return f
}
