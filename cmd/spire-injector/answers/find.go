package answers

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Found is what a name stands for: a workload, perhaps by one of its pods, or a Service.
type Found struct {
	Workload *Workload
	Group    *Group // of the pod that was named; nil if none was
	Pod      string
	Service  *Object
	service  *corev1.Service
}

// kinds are the words for kinds, as kubectl takes them.
var kinds = map[string]string{
	"pod": "Pod", "pods": "Pod", "po": "Pod",
	"deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
	"statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
	"daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
	"replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
	"replicationcontroller": "ReplicationController", "rc": "ReplicationController",
	"job": "Job", "jobs": "Job",
	"cronjob": "CronJob", "cronjobs": "CronJob", "cj": "CronJob",
	"service": "Service", "services": "Service", "svc": "Service",
}

// Find finds what NAME, KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME stands for, in a namespace or in all for the
// empty one.
func (m *Mesh) Find(name, namespace string) (Found, error) {
	parts := strings.Split(name, "/")
	kind := ""
	switch len(parts) {
	case 1:
	case 2:
		if k, ok := kinds[strings.ToLower(parts[0])]; ok {
			kind = k
		} else {
			namespace = parts[0]
		}
	case 3:
		k, ok := kinds[strings.ToLower(parts[1])]
		if !ok {
			k = parts[1]
		}
		namespace, kind = parts[0], k
	default:
		return Found{}, fmt.Errorf("expected POD, KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME, got %q", name)
	}
	wanted := Object{Kind: kind, Namespace: namespace, Name: parts[len(parts)-1]}
	if wanted.Name == "" {
		return Found{}, fmt.Errorf("expected POD, KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME, got %q", name)
	}
	for _, among := range []func(Object) []Found{m.workloadsLike, m.podsLike, m.servicesLike} {
		found := among(wanted)
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		var names []string
		for _, f := range found[:min(len(found), mostNames)] {
			names = append(names, f.object().String())
		}
		return Found{}, fmt.Errorf("%q is %s: say which, as NAMESPACE/KIND/NAME", name, strings.Join(names, " and "))
	}
	return Found{}, m.nothing(wanted)
}

func (f Found) object() Object {
	switch {
	case f.Service != nil:
		return *f.Service
	case f.Pod != "":
		return Object{Kind: "Pod", Namespace: f.Workload.Namespace, Name: f.Pod}
	}
	return f.Workload.Object
}

// like says whether an object is wanted: what is wanted leaves open is empty.
func (o Object) like(wanted Object) bool {
	return o.Name == wanted.Name && (wanted.Kind == "" || o.Kind == wanted.Kind) &&
		(wanted.Namespace == "" || o.Namespace == wanted.Namespace)
}

func (m *Mesh) workloadsLike(wanted Object) []Found {
	var found []Found
	for _, w := range m.Workloads {
		if w.like(wanted) {
			found = append(found, Found{Workload: w})
		}
	}
	return found
}

func (m *Mesh) podsLike(wanted Object) []Found {
	var found []Found
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			for _, pod := range g.Pods {
				if (Object{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}).like(wanted) {
					found = append(found, Found{Workload: w, Group: g, Pod: pod.Name})
				}
			}
		}
	}
	return found
}

func (m *Mesh) servicesLike(wanted Object) []Found {
	var found []Found
	for i := range m.Services {
		s := &m.Services[i]
		if o := (Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}); o.like(wanted) {
			found = append(found, Found{Service: &o, service: s})
		}
	}
	return found
}

// nothing says that a name stands for nothing, and what may have been meant.
func (m *Mesh) nothing(wanted Object) error {
	what := wanted.Name
	if wanted.Kind != "" {
		what = wanted.Kind + " " + what
	}
	if wanted.Namespace != "" {
		what += " in namespace " + wanted.Namespace
	}
	for _, source := range []Source{SourcePods, SourceWorkloads, SourceServices} {
		if err := m.Unread[source]; err != nil {
			return fmt.Errorf("%s was not found, and %s could not be read: %w", what, source, err)
		}
	}
	if m.Only != "" && wanted.Namespace != m.Only {
		return fmt.Errorf("there is no %s in namespace %s, which alone could be read", what, m.Only)
	}
	if m.Live {
		if err := m.Usable(wanted.Namespace); err != nil {
			return err
		}
	}
	var here, elsewhere []string
	for _, w := range m.Workloads {
		switch {
		case w.Name == wanted.Name && w.Namespace == wanted.Namespace: // of another kind
			elsewhere = append(elsewhere, w.String())
		case wanted.Namespace == "" || w.Namespace == wanted.Namespace:
			here = append(here, w.Name)
		case w.Name == wanted.Name && (wanted.Kind == "" || w.Kind == wanted.Kind):
			elsewhere = append(elsewhere, w.String())
		}
	}
	if len(elsewhere) > 0 {
		return fmt.Errorf("there is no %s; there is %s", what, strings.Join(elsewhere[:min(len(elsewhere), mostNames)], ", "))
	}
	if near := intent.Nearest(wanted.Name, here...); near != "" {
		return fmt.Errorf("there is no %s; did you mean %q?", what, near)
	}
	return fmt.Errorf("there is no %s that runs", what)
}
