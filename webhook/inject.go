package webhook

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates"
)

// Injector makes pods of pods. It is pure: the admission webhook and the offline command call the same methods, and
// neither can be told from the other here.
type Injector struct {
	Platform Platform
	Version  string // of this program, written into the status
	// Generate makes Envoy's configuration: [templates.Generate], which is the default, or one that remembers.
	Generate func(templates.Proxy) (templates.Config, error)
}

// Result is what became of a pod.
type Result struct {
	Decision
	Pod      *corev1.Pod        // as it should be; the very pod given when nothing changes
	Workload registrar.Workload // to be registered before the pod is admitted; only with Inject
	Entry    registrar.Entry    // the entry of Workload
}

// Inject decides on a pod that is about to be created and returns it as it should be. A pod that already is what injection
// would make of it, because a webhook is called again or the offline command ran before, comes back unchanged.
// The error is a Refusal; then nothing must be registered.
func (i Injector) Inject(ns Namespace, pod *corev1.Pod) (Result, error) {
	decision, err := Decide(ns, pod)
	if err != nil || !decision.Inject {
		return Result{Decision: decision, Pod: pod}, err
	}
	if !injected(pod) {
		res, err := i.inject(ns, pod)
		res.Decision = decision
		return res, err
	}
	res, err := i.inject(ns, strip(pod))
	if err != nil {
		return Result{}, err
	}
	if err := refuse(ReasonTampered, missing(res.Pod, pod)); err != nil {
		return Result{}, err
	}
	res.Decision, res.Pod = Decision{Inject: true, Reason: ReasonAlreadyInjected}, pod
	return res, nil
}

// inject is injection of a pod that carries nothing of ours.
func (i Injector) inject(ns Namespace, pod *corev1.Pod) (Result, error) {
	mistakes := podMistakes(pod)
	in, inAnnotations := ParseIntent(i.Platform, ns, pod)
	mistakes = append(mistakes, inAnnotations...)
	if err := refuse(ReasonInvalid, mistakes); err != nil {
		return Result{}, err
	}
	generate := i.Generate
	if generate == nil {
		generate = templates.Generate
	}
	cfg, err := generate(templates.Proxy{
		ID: in.ID, SVIDTTL: in.X509SVIDTTL, AgentSocket: agentSocketInSidecar(i.Platform), Inbound: in.Inbound, Upstreams: in.Upstreams,
	})
	if err != nil {
		return Result{}, fmt.Errorf("generating Envoy's configuration: %w", err)
	}
	workload := registrar.Workload{ID: in.ID, Namespace: in.Subject.Namespace, ServiceAccount: in.Subject.ServiceAccount, X509SVIDTTL: in.X509SVIDTTL}
	entry := i.Platform.Cluster.WorkloadEntry(workload)
	status := Status{Version: i.Version, SPIFFEID: in.ID.String(), EntryID: entry.ID, Sidecar: SidecarName, Volumes: []string{ConfigVolume, SocketVolume}}
	out, err := addSidecar(pod, i.Platform, in, cfg, status)
	if err != nil {
		return Result{}, err
	}
	if err := refuse(ReasonInvalid, sizeMistakes(out)); err != nil {
		return Result{}, err
	}
	return Result{Pod: out, Workload: workload, Entry: entry}, nil
}

// podMistakes are the mistakes of a pod's labels and spec.
func podMistakes(pod *corev1.Pod) []Mistake {
	var mistakes []Mistake
	if _, ok := pod.Labels[LabelIdentity]; ok {
		mistakes = append(mistakes, Mistake{"label " + LabelIdentity, "is written by the webhook alone", "remove it"})
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == SidecarName {
			mistakes = append(mistakes, Mistake{"container " + SidecarName, "has the name of the injected sidecar", "rename it"})
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == ConfigVolume || v.Name == SocketVolume {
			mistakes = append(mistakes, Mistake{"volume " + v.Name, "has the name of an injected volume", "rename it"})
		}
	}
	if pod.Spec.HostNetwork {
		mistakes = append(mistakes, Mistake{"spec.hostNetwork",
			"every process of the node could use the pod's identity through the node's loopback", "set hostNetwork: false"})
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		mistakes = append(mistakes, Mistake{"spec.os.name", "expected linux, got windows", "there is no Envoy sidecar for Windows: remove the label"})
	}
	return mistakes
}

// sizeMistakes measures the annotations as the API server does, so that the refusal can say what to do.
func sizeMistakes(pod *corev1.Pod) []Mistake {
	total := 0
	for k, v := range pod.Annotations {
		total += len(k) + len(v)
	}
	if total <= maxAnnotations {
		return nil
	}
	return []Mistake{{"annotations", fmt.Sprintf("expected at most %d bytes together with the generated configuration, got %d", maxAnnotations, total),
		"use fewer upstreams, or prefixes instead of long lists of peers"}}
}

// injected says whether a pod carries a status, so that it claims to come from us.
func injected(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[AnnotationStatus]
	return ok
}

// strip returns a pod without what injection adds, by name.
func strip(pod *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	delete(out.Labels, LabelIdentity)
	maps.DeleteFunc(out.Annotations, func(key, _ string) bool { return slices.Contains(writtenByWebhook(), key) })
	out.Spec.InitContainers = slices.DeleteFunc(out.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == SidecarName })
	out.Spec.Volumes = slices.DeleteFunc(out.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == ConfigVolume || v.Name == SocketVolume })
	return out
}
