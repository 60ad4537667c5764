package entries

import (
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
)

// kind is one kind of object that needs identities.
type kind struct {
	name  string
	new   func() client.Object
	list  func() client.ObjectList
	needs func(r Rules, ns *corev1.Namespace, o client.Object) registrar.Needs
	// alike says that two states of an object have the same needs. Most changes of a pod are of its status, and evaluating
	// a pod is far dearer than that.
	alike func(before, after any) bool
}

// kindsOf are those that need identities: pods, and with prewarm what pods are made of, so that an identity is in SPIRE
// already when a CronJob fires or a service is scaled from zero.
func kindsOf(prewarm bool) []kind {
	if prewarm {
		return kinds
	}
	return kinds[:1]
}

// kinds are all of them; pods are the first.
var kinds = []kind{
	{
		name: registrar.KindPod,
		new:  func() client.Object { return &corev1.Pod{} },
		list: func() client.ObjectList { return &corev1.PodList{} },
		needs: func(r Rules, ns *corev1.Namespace, o client.Object) registrar.Needs {
			if pod, ok := o.(*corev1.Pod); ok {
				return r.NeedsOfPod(ns, pod)
			}
			return registrar.Needs{}
		},
		alike: podAlike,
	},
	ofTemplate("Deployment",
		func() *appsv1.Deployment { return &appsv1.Deployment{} },
		func() client.ObjectList { return &appsv1.DeploymentList{} },
		func(o *appsv1.Deployment) *corev1.PodTemplateSpec { return &o.Spec.Template }),
	ofTemplate("StatefulSet",
		func() *appsv1.StatefulSet { return &appsv1.StatefulSet{} },
		func() client.ObjectList { return &appsv1.StatefulSetList{} },
		func(o *appsv1.StatefulSet) *corev1.PodTemplateSpec { return &o.Spec.Template }),
	ofTemplate("DaemonSet",
		func() *appsv1.DaemonSet { return &appsv1.DaemonSet{} },
		func() client.ObjectList { return &appsv1.DaemonSetList{} },
		func(o *appsv1.DaemonSet) *corev1.PodTemplateSpec { return &o.Spec.Template }),
	ofTemplate("Job",
		func() *batchv1.Job { return &batchv1.Job{} },
		func() client.ObjectList { return &batchv1.JobList{} },
		func(o *batchv1.Job) *corev1.PodTemplateSpec {
			if hasEnded(o) {
				return nil
			}
			return &o.Spec.Template
		}),
	ofTemplate("CronJob",
		func() *batchv1.CronJob { return &batchv1.CronJob{} },
		func() client.ObjectList { return &batchv1.CronJobList{} },
		func(o *batchv1.CronJob) *corev1.PodTemplateSpec { return &o.Spec.JobTemplate.Spec.Template }),
}

// ofTemplate is a kind whose objects have a pod template, or nil when they make no more pods.
func ofTemplate[O client.Object](name string, empty func() O, list func() client.ObjectList,
	template func(O) *corev1.PodTemplateSpec) kind {
	return kind{
		name: name,
		new:  func() client.Object { return empty() },
		list: list,
		needs: func(r Rules, ns *corev1.Namespace, o client.Object) registrar.Needs {
			object, ok := o.(O)
			if !ok {
				return registrar.Needs{}
			}
			t := template(object)
			if t == nil {
				return registrar.Needs{}
			}
			return r.NeedsOfTemplate(ns, &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec})
		},
		alike: func(before, after any) bool {
			b, okB := before.(O)
			a, okA := after.(O)
			return okA && okB && reflect.DeepEqual(template(b), template(a))
		},
	}
}

// podAlike compares what a cache keeps of pods, which is what their needs follow from.
func podAlike(before, after any) bool {
	b, okB := before.(*corev1.Pod)
	a, okA := after.(*corev1.Pod)
	return okA && okB && reflect.DeepEqual(b.Labels, a.Labels) && reflect.DeepEqual(b.Annotations, a.Annotations) &&
		reflect.DeepEqual(b.Spec, a.Spec) && reflect.DeepEqual(b.Status, a.Status)
}

func hasEnded(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// Watched narrows what is kept in memory: of pods those that have an identity, as trim leaves them, and of each object
// what is read.
func Watched(trim func(*corev1.Pod) *corev1.Pod) (map[client.Object]cache.ByObject, error) {
	hasIdentity, err := labels.NewRequirement(registrar.IdentityLabel, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting injected pods: %w", err)
	}
	watched := map[client.Object]cache.ByObject{nodeMetadata(): {Transform: onlyName}}
	for _, k := range kinds {
		watched[k.new()] = cache.ByObject{Transform: withoutManagedFields}
	}
	for o := range watched {
		if _, isPod := o.(*corev1.Pod); isPod {
			transform := func(o any) (any, error) {
				if pod, ok := o.(*corev1.Pod); ok {
					return trim(pod), nil
				}
				return o, nil
			}
			watched[o] = cache.ByObject{Label: labels.NewSelector().Add(*hasIdentity), Transform: transform}
		}
	}
	return watched, nil
}

// onlyName leaves of a node what it is called.
func onlyName(o any) (any, error) {
	if node, ok := o.(*metav1.PartialObjectMetadata); ok {
		named := nodeMetadata()
		named.Name, named.UID, named.ResourceVersion = node.Name, node.UID, node.ResourceVersion
		return named, nil
	}
	return o, nil
}

func withoutManagedFields(o any) (any, error) {
	if object, ok := o.(metav1.Object); ok {
		object.SetManagedFields(nil)
	}
	return o, nil
}
