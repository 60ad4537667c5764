package golden

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/rollout"
)

var injectorItself = rest.ImpersonationConfig{
	UserName: "system:serviceaccount:spire-injector:spire-injector", Groups: []string{"system:serviceaccounts", "system:authenticated"},
}

// decodedPod is a pod by its name.
func decodedPod(object map[string]any) *corev1.Pod {
	metadata := object["metadata"].(map[string]any)
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metadata["namespace"].(string), Name: metadata["name"].(string)}}
}

// asInjector is a client with the rights that the injector's manifests give to it, and no others.
func (s *apiServer) asInjector(t *testing.T) client.Client {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(manifests, "rbac.yaml"))
	must(t, err)
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		if object := decoded(t, document); strings.HasPrefix(object.GetKind(), "ClusterRole") {
			if err := s.Create(t.Context(), object); !apierrors.IsAlreadyExists(err) {
				must(t, err)
			}
		}
	}
	config := rest.CopyConfig(s.config)
	config.Impersonate = injectorItself
	c, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme})
	must(t, err)
	return c
}

// The leading replica brings running pods up to date with its one annotation. With the same rights it can do nothing
// else to pods.
func testRefresh(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	injector := inject.Injector{Platform: platform, Version: "test"}
	s.use(injector)
	ns := func(peers string) intent.Namespace {
		return intent.Namespace{Name: "refresh", Annotations: map[string]string{intent.AnnotationAllowedPeers: peers}}
	}
	s.prepare(t, ns("/ns/refresh/first"), "first")
	s.prepare(t, intent.Namespace{Name: "not-ours", Labels: map[string]string{"injector.spiffe.io/release": "another"}}, "others")
	manifest := func(name, namespace, more string) []byte {
		return []byte(`{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: ` + namespace + `, ` + more + `},
			spec: {containers: [{name: app, image: app}]}}`)
	}
	for _, pod := range [][]byte{
		manifest("api", "refresh", `labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080"}`),
		manifest("plain", "refresh", `labels: {app: plain}`),
		manifest("of-another-release", "not-ours", `labels: {spiffe.io/identity: x}`),
	} {
		created, err := s.create(t, pod)
		must(t, err)
		defer s.remove(t, created)
	}
	own := s.asInjector(t)
	cluster := &rollout.APIServer{Cached: own, Direct: own, Writer: own, Configuration: "spire-injector"}
	var found []string
	s.eventually(t, "the injector's rights", func() error {
		found = nil
		return cluster.Each(t.Context(), "", func(pod *corev1.Pod) { found = append(found, pod.Namespace+"/"+pod.Name) })
	})
	if !slices.Equal(found, []string{"refresh/api"}) {
		t.Errorf("expected the one pod of ours, got %v", found)
	}
	name := types.NamespacedName{Namespace: "refresh", Name: "api"}
	before, err := cluster.Pod(t.Context(), name)
	must(t, err)

	s.prepare(t, ns("/ns/refresh/second"), "second")
	injector.Platform.Sidecar.Image, injector.Platform.InPlace = "newer", true
	s.use(injector)
	refresh, err := injector.Refresh(ns("/ns/refresh/second"), before)
	if err != nil || !refresh.Outdated {
		t.Fatalf("expected an outdated pod, got %+v, %v", refresh, err)
	}
	after, err := cluster.Refresh(t.Context(), before, refresh.Value)
	must(t, err)
	if inject.ConfigDigest(after) != refresh.Wanted || !strings.Contains(after.Annotations[intent.AnnotationAuthorization], "second") ||
		after.Spec.InitContainers[0].Image != "newer" || after.Spec.Containers[0].Image != "app" {
		t.Errorf("the pod has become %+v", after)
	}
	if len(s.spire.workloads) == 0 {
		t.Error("the identity was not registered with what has changed")
	}

	// The pod that is meant is this one, and no later one of its name.
	other := after.DeepCopy()
	other.UID = "another"
	if _, err := cluster.Refresh(t.Context(), other, "1"); err == nil {
		t.Error("another pod of the same name was changed")
	}
	for what, patch := range map[string]string{
		"label":             `{"metadata": {"labels": {"x": "y"}}}`,
		"label removed":     `{"metadata": {"labels": {"spiffe.io/inject": null}}}`,
		"annotation":        `{"metadata": {"annotations": {"x": "y"}}}`,
		"user's annotation": `{"metadata": {"annotations": {"spiffe.io/allowed-peers": "/ns/refresh/mine"}}}`,
		"user's removed":    `{"metadata": {"annotations": {"spiffe.io/app-port": null}}}`,
		"finalizer":         `{"metadata": {"finalizers": ["example.org/f"]}}`,
		"owner":             `{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}}`,
		"configuration":     `{"metadata": {"annotations": {"spiffe.io/envoy-listeners": "{}"}}}`,
		"status":            `{"metadata": {"annotations": {"spiffe.io/status": "{}"}}}`,
		"image of the app":  `{"spec": {"containers": [{"name": "app", "image": "mine"}]}}`,
		"image of Envoy":    `{"spec": {"initContainers": [{"name": "envoy", "image": "mine"}]}}`,
		"deadline":          `{"spec": {"activeDeadlineSeconds": 5}}`,
		"toleration":        `{"spec": {"tolerations": [{"operator": "Exists"}]}}`,
	} {
		pod := after.DeepCopy()
		if err := own.Patch(t.Context(), pod, client.RawPatch(types.StrategicMergePatchType, []byte(patch))); err == nil {
			t.Errorf("%s: the injector may change it", what)
		}
	}
	plain := &corev1.Pod{}
	plain.Namespace, plain.Name = "refresh", "plain"
	for what, err := range map[string]error{
		"a pod without injection": own.Patch(t.Context(), plain, client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"spiffe.io/refresh": "1"}}}`))),
		"deleting":                own.Delete(t.Context(), after.DeepCopy()),
		"updating":                own.Update(t.Context(), after.DeepCopy()),
		"creating":                own.Create(t.Context(), &corev1.Pod{ObjectMeta: plain.ObjectMeta, Spec: plain.Spec}),
		"the status":              own.Status().Patch(t.Context(), after.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status": {"message": "x"}}`))),
	} {
		if err == nil {
			t.Errorf("%s: the injector may do it", what)
		}
	}
	// Anybody who may change the pod may ask for the same, and gains what is wanted.
	must(t, s.Patch(t.Context(), after.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"spiffe.io/refresh": "by hand"}}}`))))
}
