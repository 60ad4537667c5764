package check

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// workloads finds SPIRE and spire-controller-manager by their images in all namespaces, and by their labels in SPIRE's.
func (g Gatherer) workloads(ctx context.Context, f *Facts) error {
	found, err := g.templates(ctx)
	if err != nil {
		return err
	}
	parts := map[part]*[]Workload{serverPart(): &f.Servers, agentPart(): &f.Agents, managerPart(): &f.Managers}
	for _, w := range found {
		for p, to := range parts {
			container, ok := p.in(w.Spec, g.labels(w.Namespace, w.Labels))
			if !ok {
				continue
			}
			w.Container = container.Name
			file, err := g.file(ctx, w.Namespace, w.Spec, container.Name, p.configPath(w.Spec, container))
			if err != nil {
				return err
			}
			w.Config = file
			*to = append(*to, w)
		}
	}
	return nil
}

// templates are all workloads of the kinds that SPIRE may be of.
func (g Gatherer) templates(ctx context.Context) ([]Workload, error) {
	apps := g.Client.AppsV1()
	var all []Workload
	add := func(kind string, m metav1.ObjectMeta, t corev1.PodTemplateSpec, wanted, ready int32) {
		all = append(all, Workload{
			Kind: kind, Namespace: m.Namespace, Name: m.Name, Labels: t.Labels, Spec: t.Spec, Wanted: wanted, Ready: ready,
		})
	}
	if err := each(ctx, metav1.ListOptions{}, apps.Deployments("").List, func(d *appsv1.Deployment) {
		add("Deployment", d.ObjectMeta, d.Spec.Template, orOne(d.Spec.Replicas), d.Status.ReadyReplicas)
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, metav1.ListOptions{}, apps.StatefulSets("").List, func(s *appsv1.StatefulSet) {
		add("StatefulSet", s.ObjectMeta, s.Spec.Template, orOne(s.Spec.Replicas), s.Status.ReadyReplicas)
	}); err != nil {
		return nil, err
	}
	err := each(ctx, metav1.ListOptions{}, apps.DaemonSets("").List, func(d *appsv1.DaemonSet) {
		add("DaemonSet", d.ObjectMeta, d.Spec.Template, d.Status.DesiredNumberScheduled, d.Status.NumberReady)
	})
	return all, err
}

// labels are those by which a part may be found: elsewhere others may use them as they like.
func (g Gatherer) labels(namespace string, labels map[string]string) map[string]string {
	if namespace != g.Names.SPIRE {
		return nil
	}
	return labels
}

func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// pods finds the agents' pods, and the injected pods whose app declares ports. Of these only what is looked at is
// kept: they carry their whole configuration.
func (g Gatherer) pods(ctx context.Context, f *Facts) error {
	namespaces := []string{}
	for _, w := range f.Agents {
		namespaces = append(namespaces, w.Namespace)
	}
	slices.Sort(namespaces)
	for _, ns := range slices.Compact(namespaces) {
		err := g.eachPod(ctx, ns, "", func(pod corev1.Pod) {
			if _, ok := agentPart().in(pod.Spec, g.labels(ns, pod.Labels)); ok && pod.Spec.NodeName != "" {
				f.AgentPods = append(f.AgentPods, agentPod(pod))
			}
		})
		if err != nil {
			return err
		}
	}
	return g.eachPod(ctx, metav1.NamespaceAll, intent.LabelIdentity, func(pod corev1.Pod) {
		if intent.Ended(&pod) {
			return
		}
		f.Injected++
		if small, declares := declaring(pod); declares {
			f.Declaring = append(f.Declaring, small)
		}
	})
}

func agentPod(pod corev1.Pod) AgentPod {
	a := AgentPod{Namespace: pod.Namespace, Node: pod.Spec.NodeName}
	if owner := metav1.GetControllerOf(&pod); owner != nil && owner.Kind == "DaemonSet" {
		a.DaemonSet = owner.Name
	}
	return a
}

func (g Gatherer) eachPod(ctx context.Context, namespace, label string, do func(corev1.Pod)) error {
	o := metav1.ListOptions{LabelSelector: label}
	return each(ctx, o, g.Client.CoreV1().Pods(namespace).List, func(pod *corev1.Pod) { do(*pod) })
}

// declaring is a pod without what no check looks at, and whether its app declares ports.
func declaring(pod corev1.Pod) (small corev1.Pod, declares bool) {
	small = *inject.Trim(&pod)
	small.OwnerReferences = pod.OwnerReferences
	for i, c := range pod.Spec.Containers {
		small.Spec.Containers[i].Ports = c.Ports
		declares = declares || c.Name != intent.SidecarName && len(c.Ports) > 0
	}
	return small, declares
}

// ownerOf is who made a pod, or the pod.
func ownerOf(pod corev1.Pod) string {
	if owner := metav1.GetControllerOf(&pod); owner != nil {
		return owner.Kind + " " + pod.Namespace + "/" + owner.Name
	}
	return "Pod " + pod.Namespace + "/" + pod.Name
}

// trial has the API server try a pod that asks for injection and has a mistake. Nothing is created.
func (g Gatherer) trial(ctx context.Context, f *Facts) error {
	if f.Injector == nil || f.Mutating == nil {
		return nil
	}
	serves, err := webhook.Served(f.Mutating)
	if err != nil {
		return err
	}
	for _, ns := range f.Namespaces {
		better := f.Trial.Namespace == "" || ns.Name == metav1.NamespaceDefault
		if better && serves(ns.Labels) && ns.Status.Phase == corev1.NamespaceActive {
			f.Trial.Namespace = ns.Name
		}
	}
	if f.Trial.Namespace == "" {
		f.Trial.Answer = "the webhooks' namespaceSelectors leave out every namespace"
		return nil
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "spire-injector-check-",
			Labels:       map[string]string{intent.LabelInject: intent.InjectEnabled},
			Annotations:  map[string]string{intent.AnnotationAppPort: "none, this pod is to be refused"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err = g.Client.CoreV1().Pods(f.Trial.Namespace).Create(ctx, pod, dryRun)
	switch {
	case err == nil:
		f.Trial.Created = true
	case apierrors.IsForbidden(err) && !isAnswer(err):
		return err // the one who asks may not create pods
	default:
		f.Trial.Answer = err.Error()
	}
	return nil
}

// isAnswer says whether a refusal comes from a webhook, and not from the rights of who asked.
func isAnswer(err error) bool { return strings.Contains(err.Error(), "admission webhook") }
