package inject

import (
	"fmt"
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Injector makes pods of pods. It is pure: the admission webhook and the offline command call the same methods, and
// neither can be told from the other here.
type Injector struct {
	Platform   intent.Platform
	Version    string            // of this program, written into the status
	Kubernetes KubernetesVersion // of the cluster that the pods are for
	// Generate makes Envoy's configuration: [templates.Generate], which is the default, or one that remembers.
	Generate func(ir.Proxy) (templates.Config, error)
}

// Result is what became of a pod.
type Result struct {
	intent.Decision
	Pod *corev1.Pod // as it should be; the very pod given when nothing changes
	// Workloads are to be registered before the pod is admitted: one for each container that gets the identity.
	Workloads []registrar.Workload
}

// Inject decides on a pod that is about to be created and returns it as it should be. A pod that already is what injection
// would make of it, because a webhook is called again or the offline command ran before, comes back unchanged.
// The error is a Refusal; then nothing must be registered.
func (i Injector) Inject(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	decision, err := intent.Decide(ns, pod)
	if err != nil {
		return Result{Decision: decision, Pod: pod}, err
	}
	if !decision.Inject {
		if hasTraces(pod) {
			return Result{Decision: intent.Decision{Reason: reason.LeftoversRemoved}, Pod: strip(pod)}, nil
		}
		return Result{Decision: decision, Pod: pod}, nil
	}
	if !injected(pod) {
		base := pod
		if hasTraces(pod) {
			base = strip(pod)
		}
		res, err := i.inject(ns, base)
		res.Decision = decision
		return res, err
	}
	// Replicas of two versions work side by side while one takes the other's place: that a pod was injected by the other one is no
	// fault, if it looks the same. Nor is what happened to be at its admission.
	before := StatusOf(pod)
	i.Version = before.Version
	res, err := i.inject(ns, strip(pod))
	if err == nil && before.Deferred {
		res, err = Deferred(res)
	}
	if err != nil {
		return Result{}, err
	}
	if err := intent.Refuse(reason.Tampered, missing(res.Pod, pod)); err != nil {
		return Result{}, err
	}
	res.Decision, res.Pod = intent.Decision{Inject: true, Reason: reason.AlreadyInjected}, pod
	return res, nil
}

// inject is injection of a pod that carries nothing of ours.
func (i Injector) inject(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	in, inAnnotations := intent.ParseIntent(i.Platform, ns, pod)
	mistakes := slices.Concat(i.podMistakes(pod, in), inAnnotations)
	if err := intent.Refuse(reason.Invalid, mistakes); err != nil {
		return Result{}, err
	}
	workloads := in.Workloads(pod)
	status := Status{Version: i.Version, SPIFFEID: in.ID.String(), Mode: in.Mode.String()}
	for _, w := range workloads {
		status.EntryIDs = append(status.EntryIDs, i.Platform.Cluster.WorkloadEntry(w).ID)
	}
	out := pod.DeepCopy()
	if in.Mode.Socket {
		for c := range intent.ContainersOf(out) {
			addWorkloadAPI(c, i.Platform)
		}
	}
	annotations := map[string]string{}
	var err error
	if in.Mode.Envoy() {
		cfg, err := i.addEnvoy(out, in, &status)
		if err != nil {
			return Result{}, err
		}
		maps.Copy(annotations, generated(cfg))
		out.Spec.Volumes = append(out.Spec.Volumes, configVolume(annotations))
		status.Volumes = append(status.Volumes, ConfigVolume)
		if in.Tokens() {
			out.Spec.Volumes = append(out.Spec.Volumes, jwtVolume())
			status.Volumes = append(status.Volumes, JWTVolume)
		}
		if in.CertificateSecret != "" {
			out.Spec.Volumes = append(out.Spec.Volumes, certificateVolume(in.CertificateSecret))
			status.Volumes = append(status.Volumes, CertificateVolume)
		}
	}
	out.Spec.Volumes = append(out.Spec.Volumes, socketVolume(i.Platform.AgentSocket))
	status.Volumes = append(status.Volumes, SocketVolume)
	if annotations[intent.AnnotationStatus], err = status.encode(); err != nil {
		return Result{}, err
	}
	out.Annotations = merged(out.Annotations, annotations)
	out.Labels = merged(out.Labels, map[string]string{intent.LabelIdentity: registrar.IdentityHash(in.ID)})
	if err := intent.Refuse(reason.Invalid, sizeMistakes(out)); err != nil {
		return Result{}, err
	}
	return Result{Pod: out, Workloads: workloads}, nil
}

// addEnvoy changes the pod's containers for Envoy, notes in the status what was there before, and returns Envoy's configuration.
func (i Injector) addEnvoy(pod *corev1.Pod, in intent.Intent, status *Status) (templates.Config, error) {
	if in.Mode.Sidecar {
		status.Probes = redirectProbes(pod)
	}
	generate := i.Generate
	if generate == nil {
		generate = templates.Generate
	}
	cfg, err := generate(in.Proxy)
	if err != nil {
		// Whatever it is, it came from the pod, its namespace or the platform file: who asks for it reads the reason.
		return templates.Config{}, intent.Refuse(reason.Invalid, []intent.Mistake{{Where: "Envoy's configuration", What: err.Error()}})
	}
	status.Sidecar = intent.SidecarName
	user := int64(firstSidecarUser)
	if in.Mode.Sidecar {
		user = sidecarUser(pod)
	}
	if in.Mode.Gateway {
		i.fillGateway(pod, in, user)
	}
	if len(in.Proxy.Inbound) > 0 && i.Platform.Drain > 0 && i.Kubernetes.hasSleepHooks() {
		status.Draining, status.GracePeriod = addDrain(pod, i.Platform.Drain)
	}
	if in.Mode.Sidecar {
		i.addSidecar(pod, in, user)
	}
	if in.Tokens() {
		status.JWT = intent.JWTName
		i.addJWT(pod, in, user)
	}
	return cfg, nil
}

func merged(into, from map[string]string) map[string]string {
	if into == nil {
		return from
	}
	maps.Copy(into, from)
	return into
}

// podMistakes are the mistakes of a pod's labels and spec.
func (i Injector) podMistakes(pod *corev1.Pod, in intent.Intent) []intent.Mistake {
	var mistakes []intent.Mistake
	tell := func(where, what, hint string) {
		mistakes = append(mistakes, intent.Mistake{Where: where, What: what, Hint: hint})
	}
	if _, ok := pod.Labels[intent.LabelIdentity]; ok {
		tell("label "+intent.LabelIdentity, "is written by the webhook alone", "remove it")
	}
	if in.Mode.Gateway {
		mistakes = append(mistakes, gatewayMistakes(pod)...)
	}
	names := map[string]bool{}
	for c := range intent.ContainersOf(pod) {
		// The API server would say so too, but later: entries select by these names, and probes are told apart by them.
		if errs := validation.IsDNS1123Label(c.Name); len(errs) > 0 {
			tell(fmt.Sprintf("container %q", c.Name), "expected a name of lower case letters, digits and -, in at most 63 characters", "rename it")
		} else if names[c.Name] {
			tell("container "+c.Name, "another container has the same name", "rename one of them")
		}
		names[c.Name] = true
		if c.Name == intent.SidecarName && !in.Mode.Gateway {
			tell("container "+intent.SidecarName, "has the name of the injected sidecar", "rename it")
		}
		if c.Name == intent.JWTName {
			tell("container "+intent.JWTName, "has the name of an injected container", "rename it")
		}
		for _, m := range c.VolumeMounts {
			if in.Mode.Socket && path.Clean(m.MountPath) == intent.SocketMountPath {
				tell("container "+c.Name+", volumeMounts", "something is mounted at "+intent.SocketMountPath+" already, where the Workload API's socket goes", "remove it")
			}
		}
	}
	for _, v := range pod.Spec.Volumes {
		if isOurVolume(v.Name) {
			tell("volume "+v.Name, "has the name of an injected volume", "rename it")
		}
	}
	if pod.Spec.HostNetwork && in.Mode.Envoy() {
		tell("spec.hostNetwork", "every process of the node could use the pod's identity through the node's loopback",
			fmt.Sprintf("set hostNetwork: false, or write %s: %s", intent.AnnotationMode, intent.ModeSocket))
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows) {
		tell("spec.os.name", "expected linux, got windows", "there is no Envoy sidecar for Windows: remove the label")
	}
	mistakes = append(mistakes, i.jwtMistakes(in)...)
	if in.Mode.Sidecar && !i.Kubernetes.hasNativeSidecars() && (pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure) {
		tell("spec.restartPolicy", fmt.Sprintf("a pod that is to end would never: the sidecar goes on, because Kubernetes %d.%d has no native sidecars",
			i.Kubernetes.Major, i.Kubernetes.Minor), "use Kubernetes 1.29 or newer, or "+intent.AnnotationMode+": "+intent.ModeSocket.String())
	}
	return mistakes
}

// sizeMistakes measures the annotations as the API server does, so that the refusal can say what to do.
func sizeMistakes(pod *corev1.Pod) []intent.Mistake {
	total := 0
	for k, v := range pod.Annotations {
		total += len(k) + len(v)
	}
	if total <= maxAnnotations {
		return nil
	}
	return []intent.Mistake{{Where: "annotations", What: fmt.Sprintf("expected at most %d bytes together with the generated configuration, got %d", maxAnnotations, total),
		Hint: "use fewer upstreams, or prefixes instead of long lists of peers"}}
}
