package inject

import (
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// NeedsOfTemplate are the identities that pods made of a template will need. A template whose pods would be left alone
// or denied needs none.
func (i Injector) NeedsOfTemplate(ns intent.Namespace, template *corev1.Pod) registrar.Needs {
	decision, err := intent.Decide(ns, template)
	if err != nil || !decision.Inject {
		return registrar.Needs{}
	}
	in, mistakes := intent.ParseIntent(i.Platform, ns, template)
	if len(mistakes) > 0 { // of what is too large as well, without looking further
		return registrar.Needs{}
	}
	if _, is := i.Platform.Quarantined(in.ID); is {
		return registrar.Needs{}
	}
	if len(i.refusedExceptions(ns)(in))+len(injection{Injector: i, intent: in}.mistakes(template)) > 0 {
		return registrar.Needs{}
	}
	return registrar.Needs{Workloads: in.Workloads(template), Identity: registrar.IdentityHash(in.ID)}
}

// NeedsOfPod are the identities that an injected pod runs with, until it has ended. What [Trim] leaves of a pod is
// enough.
//
// The identity is the one of its injection, also if the platform would give it another one today. If the platform would
// not allow it today, or does not understand any more what the pod asks for, its entries stay as they are: a running
// pod keeps its identity, and an identity that is not allowed is not minted again.
func (i Injector) NeedsOfPod(ns intent.Namespace, pod *corev1.Pod) registrar.Needs {
	if !injected(pod) || intent.Ended(pod) {
		return registrar.Needs{}
	}
	needs := i.needsOfReplicas(ns, pod)
	if needs.nowhere {
		return needs.Needs
	}
	needs.Node = nodeOf(pod)
	return needs.Needs
}

// replicaNeeds are what all replicas of a workload need, on whatever node each is.
type replicaNeeds struct {
	registrar.Needs
	nowhere bool // on no node, until the identity is not quarantined any more
}

// needsOfReplicas remembers what it finds. Whoever gets it may not change it.
func (i Injector) needsOfReplicas(ns intent.Namespace, pod *corev1.Pod) replicaNeeds {
	if i.Decisions == nil {
		return i.findNeeds(ns, pod)
	}
	like := likeItsReplicas(pod)
	like.Spec.NodeName, like.Spec.Affinity = "", nil // where a pod is, and nothing else of it
	key, recognisable := recognitionOf(ns, like)
	if !recognisable {
		return i.findNeeds(ns, pod)
	}
	if known, ok := i.Decisions.needs.Get(key); ok {
		return known.(replicaNeeds)
	}
	needs := i.findNeeds(ns, like)
	if len(needs.Workloads)+len(needs.Held) <= maxKeptEntries {
		i.Decisions.needs.Add(key, needs)
	}
	return needs
}

func (i Injector) findNeeds(ns intent.Namespace, pod *corev1.Pod) replicaNeeds {
	needs := replicaNeeds{Needs: registrar.Needs{Identity: pod.Labels[intent.LabelIdentity]}}
	status, base := StatusOf(pod), strip(pod)
	if id, err := spiffeid.FromString(status.SPIFFEID); err == nil {
		if _, is := i.Platform.Quarantined(id); is {
			return replicaNeeds{Needs: registrar.Needs{Held: status.EntryIDs}, nowhere: true}
		}
	}
	in, mistakes := intent.ParseAdmitted(i.Platform, ns, base, AppProtocolsOf(pod))
	if in.ID.String() != status.SPIFFEID {
		id, err := spiffeid.FromString(status.SPIFFEID)
		if err == nil {
			err = intent.Authorize(i.Platform.Cluster.TrustDomain, i.Platform.Claims, in.Subject, id)
		}
		if err != nil {
			needs.Held = status.EntryIDs
			return needs
		}
		in.ID = id
	}
	if len(mistakes) > 0 || registrar.IdentityHash(in.ID) != needs.Identity {
		needs.Held = status.EntryIDs
		return needs
	}
	needs.Workloads, needs.Unconfirmed = in.Workloads(base), status.Deferred
	return needs
}

// nodeOf is the node that a pod runs on, or will: a DaemonSet's pod says it before it is scheduled.
func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil ||
		pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	name := ""
	for i, term := range pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		of := onlyNode(term)
		if of == "" || i > 0 && of != name {
			return ""
		}
		name = of
	}
	return name
}

// onlyNode is the only node that a term matches, by its name; empty if that is not said.
func onlyNode(term corev1.NodeSelectorTerm) string {
	for _, f := range term.MatchFields {
		if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
			return f.Values[0]
		}
	}
	return ""
}

// Trim returns what [Injector.NeedsOfPod] reads of a pod, and what names it in events: a small part, since all injected
// pods of a cluster are kept in memory.
func Trim(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace:       pod.Namespace,
		Name:            pod.Name,
		UID:             pod.UID,
		ResourceVersion: pod.ResourceVersion,
		Labels:          pod.Labels,
		Annotations:     map[string]string{},
	}}
	ours := intent.WrittenByWebhook()
	for key, text := range pod.Annotations {
		if key == intent.AnnotationStatus || !slices.Contains(ours, key) {
			out.Annotations[key] = text
		}
	}
	status := StatusOf(pod)
	if text, ok := out.Annotations[intent.AnnotationStatus]; ok && status.Seal != "" { // by which replicas would differ
		out.Annotations[intent.AnnotationStatus] = strings.Replace(text, `,"seal":"`+status.Seal+`"`, "", 1)
	}
	out.Spec.ServiceAccountName, out.Spec.NodeName = pod.Spec.ServiceAccountName, nodeOf(pod)
	keep := namesOf
	if status.Capture != "" {
		keep = declaredIn
	}
	out.Spec.InitContainers, out.Spec.Containers = keep(pod.Spec.InitContainers), keep(pod.Spec.Containers)
	out.Status.Phase = pod.Status.Phase
	return out
}

func namesOf(containers []corev1.Container) []corev1.Container {
	var named []corev1.Container
	for _, c := range containers {
		named = append(named, corev1.Container{Name: c.Name})
	}
	return named
}
