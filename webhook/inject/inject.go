package inject

import (
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Injector makes pods of pods. It is pure: the admission webhook and the offline command call the same methods, and
// nothing here depends on which of them it is.
type Injector struct {
	Platform   intent.Platform
	Version    string            // of this program, written into the status
	Kubernetes KubernetesVersion // of the cluster that the pods are for
	// Generate makes Envoy's configuration: [templates.Generate], which is the default, or one that remembers.
	Generate func(ir.Proxy) (templates.Config, error)
	// Keep is told what Generate made for a pod that can have it, and never what was too large; nil is nobody.
	Keep func(ir.Proxy, templates.Config)
	// Decisions are those that were made by all the other fields but Sealing; nil remembers none.
	Decisions *Decisions
	// Sealing is for pods that are created.
	Sealing Sealing

	running      bool                // the pod has its identity already, and keeps it while it is quarantined
	jsonFiles    bool                // its Envoy looks for JSON, as in pods of older versions
	tcpDeadlines bool                // of a running pod: its Envoy was started with what they need
	admitted     intent.AppProtocols // of an injected pod: what its app speaks
	takes        int                 // of Envoy's configuration, if not zero: how many bytes it has at most, and it is not made
	listedPorts  bool                // of an injected pod: its rules lead no other ports of names to Envoy than those that are listed
	readers      []string            // of an injected pod: what sees its files, so that containers that came later do not count
}

// Result is what became of a pod.
type Result struct {
	intent.Decision
	// Pod is as it should be: the very pod given when nothing changes, and nil in answers to the API server.
	Pod *corev1.Pod
	// Workloads are to be registered before the pod is admitted: one for each container that gets the identity.
	Workloads []registrar.Workload
	// Warnings are for the author of a pod that is injected.
	Warnings []string
	// Callees are Services that the pod is to call, for who knows whether they exist.
	Callees []intent.Callee
	// Remembered says that the same was decided before, on a pod like this one.
	Remembered bool

	// Of a result without a pod: its patch, and how the pod is made.
	patch []byte
	whole func() (Result, error)

	stamp  int64 // of the seal, with which the result is as old as the seal
	sealed bool  // admitted by its seal, which does not hold for long
}

// JSONPatch is the JSON patch (RFC 6902) that makes what it should be of the pod that was given; empty if that changes
// nothing.
func (r Result) JSONPatch(given *corev1.Pod) ([]byte, error) {
	if r.Pod == nil {
		return r.patch, nil
	}
	ops := Patch(given, r.Pod)
	if len(ops) == 0 {
		return nil, nil
	}
	return encodeOperations(ops)
}

// Inject decides on a pod that is about to be created and returns it as it should be. A pod that already is what
// injection would make of it, because a webhook is called again or the offline command ran before, comes back
// unchanged. The error is a [intent.Refusal]; then nothing must be registered.
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
	arrived := pod
	pod = tidied(pod)
	if !injected(pod) {
		base := pod
		if hasTraces(pod) {
			base = strip(pod)
		}
		res, err := i.inject(ns, base, i.refusedExceptions(ns))
		if err == nil {
			err = i.Sealing.seal(ns, res.Pod)
		}
		res.Decision = decision
		return res, err
	}
	res, err := i.again(ns, pod, arrived)
	if err == nil && !res.sealed {
		res.Pod, err = i.Sealing.resealed(ns, res.Pod)
	}
	return res, err
}

// again decides on a pod that has a status: it is what injection makes of it, a replica that injects otherwise made it a
// moment ago, or it was tampered with. The other one's seal may be of the pod as it is after tidying up, or as it arrived:
// with containers of ours that are not known here.
func (i Injector) again(ns intent.Namespace, pod, arrived *corev1.Pod) (Result, error) {
	res, err := i.sameAgain(ns, pod)
	again := Result{Decision: intent.Decision{Inject: true, Reason: reason.AlreadyInjected}, Pod: pod}
	switch {
	case err == nil:
		again.Workloads = res.Workloads
	case i.admits(ns, arrived, err): // and who sealed it has registered it
		again.Pod, again.sealed = arrived, true
	case i.admits(ns, pod, err):
		again.sealed = true
	default:
		return Result{}, i.ofAnotherVersion(pod, err)
	}
	return again, nil
}

// sameAgain is what injection makes of a pod that has a status. The error says in what the pod is not that.
func (i Injector) sameAgain(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	// Replicas of two versions work side by side while one takes the other's place: that a pod was injected by the other
	// one is no fault, if it looks the same.
	before, own := StatusOf(pod), i.Version
	i.Version, i.readers = before.Version, before.Readers
	i.Platform, i.admitted, i.listedPorts = i.platformOf(pod), AppProtocolsOf(pod), !leadsRestOfNames(pod)
	res, err := i.inject(ns, strip(pod), i.refusedExceptions(ns))
	if err == nil {
		res, err = withStatus(res, func(s *Status) { s.admittedLike(before) })
	}
	if err != nil {
		return Result{}, err
	}
	mistakes := altered(pod, res.Pod)
	if !sameStatus(pod, res.Pod, before.Version != own) {
		mistakes = append([]intent.Mistake{isAltered("annotation " + intent.AnnotationStatus)}, mistakes...)
	}
	return res, intent.Refuse(reason.Tampered, mistakes)
}

// Mistakes are those for which Inject refuses a pod, nil if it does not. Takes is how many bytes Envoy's configuration
// has at most, zero where that is not known: where it is, and they fit, the configuration is not made, which is most of
// the work of an injection.
func (i Injector) Mistakes(ns intent.Namespace, pod *corev1.Pod, takes int) []intent.Mistake {
	i.takes, i.Decisions = takes, nil
	_, err := i.Inject(ns, pod)
	if err != nil && takes > 0 { // perhaps only because it may take less
		i.takes = 0
		_, err = i.Inject(ns, pod)
	}
	var refusal *intent.Refusal
	if errors.As(err, &refusal) {
		return refusal.Mistakes
	}
	return nil
}

// inject is injection of a pod that carries nothing of ours. Refused are the mistakes in what is asked for that come of
// where and when it is; nil finds none.
func (i Injector) inject(ns intent.Namespace, pod *corev1.Pod, refused refusedExceptions) (Result, error) {
	in, inAnnotations := intent.ParseAdmitted(i.Platform, ns, pod, i.admitted)
	if intent.IsOver(inAnnotations) { // nothing is made of it
		return Result{}, intent.Refuse(reason.OverLimit, inAnnotations)
	}
	if i.readers != nil {
		in.Files.Containers = i.readers
	}
	mistakes := slices.Concat(injection{Injector: i, intent: in}.mistakes(pod), inAnnotations)
	if refused != nil {
		mistakes = append(mistakes, refused(in)...)
	}
	why := reason.Invalid
	if quarantined := i.Platform.QuarantineMistakes(in.ID); len(quarantined) > 0 && !i.running {
		why, mistakes = reason.Quarantined, append(quarantined, mistakes...)
	}
	if err := intent.Refuse(why, mistakes); err != nil {
		return Result{}, err
	}
	if !i.redirectsHooks() {
		in.Proxy.Probes = withoutHooks(in.Proxy.Probes)
	}
	if !i.listedPorts {
		in.Proxy.LeadRestOfNames()
	}
	in.Proxy.JSONFiles = i.jsonFiles
	in.Proxy.TCPDeadlines = i.tcpDeadlines || !i.running && slices.ContainsFunc(in.Proxy.Inbound, ir.Inbound.ServesTCPPeers)
	workloads := in.Workloads(pod)
	status := Status{Version: i.Version, SPIFFEID: in.ID.String(), Mode: in.Mode.String()}
	for _, w := range workloads {
		status.EntryIDs = append(status.EntryIDs, i.Platform.Cluster.WorkloadEntry(w).ID)
	}
	var config templates.Config
	if i.takes == 0 || len(in.Proxy.Validate()) > 0 {
		var err error
		if config, err = i.generate(in); err != nil {
			return Result{}, err
		}
	}
	out := pod.DeepCopy()
	injection{Injector: i, intent: in, config: config, user: envoyUser(pod, in.Mode), status: &status}.add(out)
	if err := status.writeTo(out); err != nil {
		return Result{}, err
	}
	if err := intent.Refuse(reason.Invalid, sizeMistakes(out, i.takes)); err != nil {
		return Result{}, err
	}
	if in.Mode.Envoy() && i.Keep != nil {
		i.Keep(in.Proxy, config)
	}
	return Result{Pod: out, Workloads: workloads, Warnings: i.Platform.Warnings(ns, in), Callees: in.Callees()}, nil
}

// generate makes Envoy's configuration: none for a pod without Envoy.
func (i Injector) generate(in intent.Intent) (templates.Config, error) {
	if !in.Mode.Envoy() {
		return templates.Config{}, nil
	}
	generate := i.Generate
	if generate == nil {
		generate = templates.Generate
	}
	config, err := generate(in.Proxy)
	if err != nil {
		// Whatever it is, it came from the pod, its namespace or the platform file: who asks for it reads the reason.
		m := intent.Mistake{Where: "Envoy's configuration", What: err.Error()}
		return templates.Config{}, intent.Refuse(reason.Invalid, []intent.Mistake{m})
	}
	return config, nil
}
