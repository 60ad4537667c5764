package entries

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

// byAppPort needs an identity by what a test wrote on a pod or a template: one of each that names an app's port.
func byAppPort() Rules {
	needs := func(ns *corev1.Namespace, pod *corev1.Pod) registrar.Needs {
		if pod.Annotations["spiffe.io/app-port"] == "" {
			return registrar.Needs{}
		}
		id := spiffeid.RequireFromPath(exampleOrg, "/"+ns.Name+"/"+pod.Spec.ServiceAccountName)
		return registrar.Needs{Workloads: []registrar.Workload{{ID: id, Namespace: ns.Name, ServiceAccount: pod.Spec.ServiceAccountName}}}
	}
	return Rules{NeedsOfPod: needs, NeedsOfTemplate: needs}
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"spiffe.io/app-port": "8080"}},
		Spec:       corev1.PodSpec{ServiceAccountName: "api", Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// Whatever makes pods needs what its pods will need, once, and a pod needs the same.
func TestEveryKindNeedsTheSame(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	rules := byAppPort()
	objects := map[string]client.Object{
		"Pod":         &corev1.Pod{ObjectMeta: template().ObjectMeta, Spec: template().Spec},
		"Deployment":  &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template()}},
		"StatefulSet": &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template()}},
		"DaemonSet":   &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template()}},
		"Job":         &batchv1.Job{Spec: batchv1.JobSpec{Template: template()}},
		"CronJob":     &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template()}}}},
	}
	const want = "spiffe://example.org/demo/api"
	for _, k := range kinds {
		object := objects[k.name]
		if object == nil {
			t.Errorf("%s: this test knows no such object", k.name)
			continue
		}
		delete(objects, k.name)
		needs := k.needs(rules, ns, object)
		if len(needs.Workloads) != 1 || needs.Workloads[0].ID.String() != want {
			t.Errorf("%s needs %+v, want %s", k.name, needs, want)
		}
		if other := k.needs(rules, ns, &corev1.Namespace{}); len(other.Workloads)+len(other.Held) > 0 {
			t.Errorf("%s: another kind of object needs %+v", k.name, other)
		}
	}
	if len(objects) > 0 {
		t.Errorf("kinds that nobody watches: %v", objects)
	}
}

func TestJobThatHasEndedNeedsNothing(t *testing.T) {
	for _, k := range kinds {
		if k.name != "Job" {
			continue
		}
		for condition, wanted := range map[batchv1.JobConditionType]int{batchv1.JobComplete: 0, batchv1.JobFailed: 0, batchv1.JobSuspended: 1} {
			job := &batchv1.Job{Spec: batchv1.JobSpec{Template: template()}}
			job.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue}}
			if got := len(k.needs(byAppPort(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}, job).Workloads); got != wanted {
				t.Errorf("a Job that is %s needs %d identities, want %d", condition, got, wanted)
			}
		}
	}
}

func TestWatchedPodsAreTrimmed(t *testing.T) {
	watched, err := Watched(func(pod *corev1.Pod) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "trimmed " + pod.Name}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(watched) != len(kinds)+1 {
		t.Errorf("%d kinds are narrowed, want %d and nodes", len(watched), len(kinds))
	}
	for object, by := range watched {
		object.SetName("api")
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		kept, err := by.Transform(object)
		if err != nil {
			t.Fatal(err)
		}
		if len(kept.(client.Object).GetManagedFields()) > 0 {
			t.Errorf("%T: managed fields are kept", object)
		}
		if _, isPod := object.(*corev1.Pod); !isPod {
			continue
		}
		if got := kept.(client.Object).GetName(); got != "trimmed api" {
			t.Errorf("pod %q is kept, want it trimmed", got)
		}
		if by.Label == nil || by.Label.Matches(labels.Set{}) || !by.Label.Matches(labels.Set{"spiffe.io/identity": "x"}) {
			t.Error("pods without identity are watched, or those with one are not")
		}
	}
}
