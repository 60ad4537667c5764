package entries

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook"
)

const platformFile = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: envoy}
`

func injector(t *testing.T) webhook.Injector {
	t.Helper()
	p, err := webhook.ParsePlatform([]byte(platformFile))
	if err != nil {
		t.Fatal(err)
	}
	return webhook.Injector{Platform: p}
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{webhook.LabelInject: webhook.InjectEnabled},
			Annotations: map[string]string{webhook.AnnotationAppPort: "8080", webhook.AnnotationAllowedPeers: "/web"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// Whatever makes pods needs what its pods will need, once, and a pod needs the same.
func TestEveryKindNeedsTheSame(t *testing.T) {
	i, ns := injector(t), webhook.Namespace{Name: "demo"}
	injected, err := i.Inject(ns, &corev1.Pod{ObjectMeta: template().ObjectMeta, Spec: template().Spec})
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]client.Object{
		"Pod":         injected.Pod,
		"Deployment":  &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template()}},
		"StatefulSet": &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template()}},
		"DaemonSet":   &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template()}},
		"Job":         &batchv1.Job{Spec: batchv1.JobSpec{Template: template()}},
		"CronJob":     &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template()}}}},
	}
	want := i.Platform.Cluster.WorkloadEntry(injected.Workloads[0])
	for _, k := range kinds {
		object := objects[k.name]
		if object == nil {
			t.Errorf("%s: this test knows no such object", k.name)
			continue
		}
		delete(objects, k.name)
		needs := k.needs(i, ns, object)
		if len(needs.Workloads) != 1 || i.Platform.Cluster.WorkloadEntry(needs.Workloads[0]).ID != want.ID {
			t.Errorf("%s needs %+v, want entry %s", k.name, needs, want.ID)
		}
		if other := k.needs(i, ns, &corev1.Namespace{}); len(other.Workloads)+len(other.Held) > 0 {
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
			if got := len(k.needs(injector(t), webhook.Namespace{Name: "demo"}, job).Workloads); got != wanted {
				t.Errorf("a Job that is %s needs %d identities, want %d", condition, got, wanted)
			}
		}
	}
}

// What is kept of all pods in memory is a small part.
func TestWatchedPodsAreTrimmed(t *testing.T) {
	watched, err := Watched()
	if err != nil {
		t.Fatal(err)
	}
	if len(watched) != len(kinds) {
		t.Errorf("%d kinds are narrowed, want %d", len(watched), len(kinds))
	}
	injected, err := injector(t).Inject(webhook.Namespace{Name: "demo"}, &corev1.Pod{ObjectMeta: template().ObjectMeta, Spec: template().Spec})
	if err != nil {
		t.Fatal(err)
	}
	for object, by := range watched {
		if _, isPod := object.(*corev1.Pod); !isPod {
			continue
		}
		if by.Label == nil || by.Label.Matches(labels.Set{}) {
			t.Error("pods without identity are watched")
		}
		kept, err := by.Transform(injected.Pod)
		if err != nil {
			t.Fatal(err)
		}
		if before, after := injected.Pod.Size(), kept.(*corev1.Pod).Size(); after > before/10 {
			t.Errorf("%d of %d bytes of a pod are kept", after, before)
		}
	}
}
