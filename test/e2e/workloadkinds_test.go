package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

// kinds are all objects that pods are made of, with one template and without a pod of it.
func kinds(name, namespace string, template corev1.PodTemplateSpec) map[string]any {
	none, suspended := int32(0), true
	object := metav1.ObjectMeta{Name: name, Namespace: namespace}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": template.Labels["app"]}}
	kind := func(version, kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: version, Kind: kind} }
	ending := *template.DeepCopy()
	ending.Spec.RestartPolicy = corev1.RestartPolicyNever
	nowhere := *template.DeepCopy()
	nowhere.Spec.NodeSelector = map[string]string{"e2e.example.org/no-such-node": ""}
	return map[string]any{
		"Deployment":  &appsv1.Deployment{TypeMeta: kind("apps/v1", "Deployment"), ObjectMeta: object, Spec: appsv1.DeploymentSpec{Replicas: &none, Selector: selector, Template: template}},
		"StatefulSet": &appsv1.StatefulSet{TypeMeta: kind("apps/v1", "StatefulSet"), ObjectMeta: object, Spec: appsv1.StatefulSetSpec{Replicas: &none, Selector: selector, Template: template}},
		"ReplicaSet":  &appsv1.ReplicaSet{TypeMeta: kind("apps/v1", "ReplicaSet"), ObjectMeta: object, Spec: appsv1.ReplicaSetSpec{Replicas: &none, Selector: selector, Template: template}},
		"DaemonSet":   &appsv1.DaemonSet{TypeMeta: kind("apps/v1", "DaemonSet"), ObjectMeta: object, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: nowhere}},
		"Job":         &batchv1.Job{TypeMeta: kind("batch/v1", "Job"), ObjectMeta: object, Spec: batchv1.JobSpec{Suspend: &suspended, Template: ending}},
		"CronJob": &batchv1.CronJob{TypeMeta: kind("batch/v1", "CronJob"), ObjectMeta: object, Spec: batchv1.CronJobSpec{
			Schedule: "0 0 1 1 *", Suspend: &suspended, JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: ending}}}},
		"ReplicationController": &corev1.ReplicationController{TypeMeta: kind("v1", "ReplicationController"), ObjectMeta: object,
			Spec: corev1.ReplicationControllerSpec{Replicas: &none, Selector: selector.MatchLabels, Template: &template}},
		"PodTemplate": &corev1.PodTemplate{TypeMeta: kind("v1", "PodTemplate"), ObjectMeta: object, Template: template},
	}
}

func template(w workload) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels(), Annotations: w.annotations}, Spec: w.podSpec()}
}

// Who applies a workload reads at once what is wrong with it, and that is what its pods would be denied with.
func TestMistakesInWorkloads(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	bad := api(ns, "not-a-peer")
	_, ofPod, found := strings.Cut(refused(t, bad.pod(ns)), "denied the request: ")
	if !found {
		t.Fatalf("expected the refusal of a webhook, got %s", ofPod)
	}
	for kind, object := range kinds("bad", ns, template(bad)) {
		if message := refused(t, object); !strings.Contains(message, "the pods of this "+kind+" would be denied: "+ofPod) {
			t.Errorf("%s: expected the pod's refusal, %q, got %s", kind, ofPod, message)
		}
	}
	if got := entries(t, id(ns, "api")); len(got) != 0 {
		t.Errorf("workloads that were refused registered %+v", got)
	}
	for _, object := range kinds("good", ns, template(api(ns, id(ns, "valid")))) {
		apply(t, object)
	}
}

// In a namespace that injects by default, templates without a label are meant too.
func TestMistakesInWorkloadsOfNamespaces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		namespace string // its label
		template  string // its label
		refused   bool
	}{
		{"enabled", "", true}, {"enabled", "disabled", false}, {"required", "", true}, {"required", "disabled", true}, {"disabled", "", false}, {"", "", false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%q in %q", test.template, test.namespace), func(t *testing.T) {
			t.Parallel()
			ns := kindNamespace(t, test.namespace)
			w := template(workload{name: "web", command: []string{"/podtool", "api"}}) // neither a port nor an upstream: injected, it is a mistake
			if test.template != "" {
				w.Labels["spiffe.io/inject"] = test.template
			}
			_, err := shared.k.With(t.Context(), manifest(t, kinds("web", ns, w)["Deployment"]), "apply", "-f", "-")
			if refused := err != nil && strings.Contains(err.Error(), "the pods of this Deployment would be denied"); refused != test.refused {
				t.Errorf("expected refused=%t, got %v", test.refused, err)
			}
		})
	}
}

// kindNamespace makes a namespace with a label for injection, or without one.
func kindNamespace(t *testing.T, inject string) string {
	t.Helper()
	ns := fmt.Sprintf("e2e-kinds-%s", rand.String(8))
	object := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: ns}}
	if inject != "" {
		object.Labels = map[string]string{"spiffe.io/inject": inject}
	}
	apply(t, object)
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "delete", "namespace", ns, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// A mistake that is there already hinders nothing that has nothing to do with it.
func TestWorkloadWithOldMistake(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, kinds("web", ns, template(workload{name: "web", command: []string{"/podtool", "api"}}))["Deployment"])
	_, err := shared.k.Run(t.Context(), "label", "namespace", ns, "spiffe.io/inject=required")
	must(t, err)
	change := []string{"set", "image", "deployment/web", "app=another"}
	eventually(t, "a change of the template refused", func() error {
		_, err := shared.k.Run(t.Context(), append([]string{"--namespace", ns, "--dry-run=server"}, change...)...)
		switch {
		case err == nil:
			return errors.New("it was allowed")
		case !strings.Contains(err.Error(), "the pods of this Deployment would be denied"):
			return err
		}
		return nil
	})
	k(t, ns, "scale", "deployment/web", "--replicas=1")
	k(t, ns, "scale", "deployment/web", "--replicas=0")
	k(t, ns, "annotate", "deployment/web", "example.org/a=b")
	k(t, ns, "patch", "deployment/web", "--patch", `{"spec": {"minReadySeconds": 3}}`)
	k(t, ns, "delete", "deployment/web")
}

// calls are the lines of the injector's log about a namespace: there is one for every request of the API server.
func calls(t *testing.T, ns string) []string {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", "spire-injector", "logs", "--selector", "app.kubernetes.io/name=spire-injector", "--tail=-1")
	must(t, err)
	var found []string
	for line := range strings.Lines(out) {
		var fields struct {
			Message string `json:"msg"`
			Request struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"request"`
			Webhook   string `json:"webhook"`
			Operation string `json:"operation"`
		}
		if json.Unmarshal([]byte(line), &fields) == nil && fields.Request.Namespace == ns && fields.Webhook != "" {
			found = append(found, strings.Join([]string{fields.Webhook, fields.Operation, fields.Request.Name, fields.Message}, " "))
		}
	}
	return found
}

// The API server asks the injector about nothing that is not its business.
func TestUnrelatedObjectsCostNoCall(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns))) // this one is
	plain := workload{name: "plain", command: []string{"/podtool", "api"}}
	for kind, object := range kinds("plain", ns, template(plain)) {
		apply(t, object)
		resource := strings.ToLower(kind) + "/plain"
		k(t, ns, "annotate", resource, "example.org/a=b")
		k(t, ns, "delete", resource, "--wait=false")
	}
	plain.name = "running"
	apply(t, plain.deployment(ns)) // its pod's status changes, too
	rollout(t, ns, "deployment/running")
	k(t, ns, "scale", "deployment/running", "--replicas=2")
	k(t, ns, "set", "image", "deployment/running", "app=another")
	pod := podNames(t, ns, "running")[0]
	k(t, ns, "annotate", "pod", pod, "spiffe.io/app-port=8080") // without a label it is just text
	k(t, ns, "label", "pod", pod, "example.org/a=b")
	k(t, ns, "delete", "pod", pod, "--wait=false")
	// Nor are others' changes of a pod that is injected, or of a workload whose pods are.
	k(t, ns, "label", "pod", "api", "example.org/a=b")
	k(t, ns, "annotate", "pod", "api", "example.org/a=b")
	k(t, ns, "set", "image", "pod/api", "app=another")
	k(t, ns, "delete", "pod", "api", "--grace-period=0", "--force")
	apply(t, kinds("good", ns, template(api(ns, id(ns, "valid"))))["Deployment"]) // this one is as well
	k(t, ns, "annotate", "deployment/good", "example.org/a=b")
	k(t, ns, "delete", "deployment/good")

	want := []string{"mutate-pod CREATE api admitted", "validate-pod CREATE api admitted", "validate-workload CREATE good admitted"}
	got := calls(t, ns)
	for _, line := range want {
		count := 0
		for _, call := range got {
			if call == line {
				count++
			}
		}
		if count != 1 {
			t.Errorf("expected one call %q, got %d", line, count)
		}
	}
	if len(got) != len(want) {
		t.Errorf("expected the calls %q, got %q", want, got)
	}
}
