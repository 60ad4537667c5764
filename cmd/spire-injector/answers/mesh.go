package answers

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// State is what became of a pod, or what will become of one that is made of a template.
type State string

// The states.
const (
	Injected    State = "injected"
	NotAsked    State = "not asked"
	NotInjected State = "not injected" // though asked
	Denied      State = "denied"
	// ToBeInjected is Injected where there are no pods yet: in what is printed, not of a [Group].
	ToBeInjected State = "to be injected"
)

// Mesh is what facts mean.
type Mesh struct {
	Facts
	Workloads []*Workload // by namespace, name and kind

	services map[string]*corev1.Service             // by namespace/name
	saying   map[string][]intent.Service            // what is spoken on ports, by namespace
	slices   map[string][]discoveryv1.EndpointSlice // by namespace/name of their Service
	byPod    map[string]*Group                      // by namespace/name
	byID     map[string][]*Workload                 // by identity
	below    map[string][]*Workload                 // by item that ends in /*, once it was asked for
	parsed   map[[sha256.Size]byte]parsed
	next     map[*Workload][]*Group // of their templates
	running  map[Object][]*Group    // of what is no part of the mesh
}

// Workload is what makes pods that are alike, or a pod of its own.
type Workload struct {
	Object
	Template *Template // nil: not known
	Groups   []*Group  // of its pods; of a workload without pods the one of its template
}

// Group are pods of one workload that say the same, or those that its template will make.
type Group struct {
	Of    *Workload
	State State
	// Pods are those that run; none of what a template will make.
	Pods []Pod
	// Asked is the pod without what injection added.
	Asked *corev1.Pod
	// ID is the identity; zero where there is none, or it is not known.
	ID spiffeid.ID
	// Mode is that of the injection.
	Mode string
	// Intent is what it asks for; of no meaning unless Known.
	Intent intent.Intent
	Known  bool
	// Mistakes are those for which a new pod that says the same would be denied now.
	Mistakes []intent.Mistake
	decided  reason.Reason       // by the labels
	admitted intent.AppProtocols // of pods that were injected
	// Why says what it is that the pods are not injected, or that new ones would be denied; empty for others.
	Why Reason
}

// told is the state of a group in what is printed.
func (g *Group) told() State {
	if g.State == Injected && len(g.Pods) == 0 {
		return ToBeInjected
	}
	return g.State
}

// text says in which state pods are. That nobody asked is said by the reason.
func (s State) text() string {
	if s == NotAsked {
		s = NotInjected
	}
	return string(s)
}

// Reason says why something is not so, and what to do.
type Reason struct {
	Found  string `json:"found,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

type parsed struct {
	intent   intent.Intent
	mistakes []intent.Mistake
}

// NewMesh says what facts mean.
func NewMesh(f Facts) *Mesh { return newMesh(f, nil) }

// newMesh is NewMesh where pods run that are none of the facts.
func newMesh(f Facts, running map[Object][]*Group) *Mesh {
	m := &Mesh{
		Facts:    f,
		services: map[string]*corev1.Service{},
		saying:   map[string][]intent.Service{},
		slices:   map[string][]discoveryv1.EndpointSlice{},
		byPod:    map[string]*Group{},
		byID:     map[string][]*Workload{},
		below:    map[string][]*Workload{},
		parsed:   map[[sha256.Size]byte]parsed{},
		next:     map[*Workload][]*Group{},
		running:  running,
	}
	if f.Platform != nil {
		// What is not known here the injector knows from its own pod. Nothing that is told depends on it.
		known := f.Platform.WithClusterDomain("cluster.local")
		m.Platform = &known
	}
	for _, slice := range f.Slices {
		key := slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]
		m.slices[key] = append(m.slices[key], slice)
	}
	for i := range f.Services {
		of := f.Services[i].Namespace
		m.services[of+"/"+f.Services[i].Name] = &f.Services[i]
		if s, says := intent.ServiceOf(&f.Services[i]); says {
			m.saying[of] = append(m.saying[of], s)
		}
	}
	workloads := map[Object]*Workload{}
	of := func(o Object) *Workload {
		if workloads[o] == nil {
			workloads[o] = &Workload{Object: o}
		}
		return workloads[o]
	}
	controllers := map[Object]Object{}
	for i, t := range f.Templates {
		if t.Controller != (Object{}) {
			controllers[t.Object] = t.Controller // the template that counts is that one's
			continue
		}
		of(t.Object).Template = &f.Templates[i]
	}
	groups := map[*Workload]map[[sha256.Size]byte]*Group{}
	for _, pod := range f.Pods {
		if pod.ended() {
			continue
		}
		w := of(workloadOf(pod.Pod, controllers))
		if groups[w] == nil {
			groups[w] = map[[sha256.Size]byte]*Group{}
		}
		key := digestOf(shared(pod.Labels), pod.Annotations, pod.Spec.ServiceAccountName, portsOf(pod.Pod))
		if groups[w][key] == nil {
			groups[w][key] = m.group(w, pod)
			w.Groups = append(w.Groups, groups[w][key])
		}
		groups[w][key].Pods = append(groups[w][key].Pods, pod)
		m.byPod[pod.Namespace+"/"+pod.Name] = groups[w][key]
	}
	for _, w := range workloads {
		if len(w.Groups) == 0 && w.Template != nil {
			w.Groups = []*Group{m.fromTemplate(w)}
		}
		for _, g := range w.Groups {
			slices.SortFunc(g.Pods, func(a, b Pod) int { return strings.Compare(a.Name, b.Name) })
			g.Why = m.why(g)
		}
		slices.SortFunc(w.Groups, func(a, b *Group) int {
			return cmp.Or(len(b.Pods)-len(a.Pods), strings.Compare(a.Pods[0].Name, b.Pods[0].Name))
		})
	}
	m.Workloads = slices.SortedFunc(maps.Values(workloads), func(a, b *Workload) int { return a.compare(b.Object) })
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			if id := g.ID.String(); !g.ID.IsZero() && !slices.Contains(m.byID[id], w) {
				m.byID[id] = append(m.byID[id], w)
			}
		}
	}
	return m
}

// group is that of a running pod.
func (m *Mesh) group(w *Workload, pod Pod) *Group {
	g := &Group{Of: w, Asked: pod.Pod, State: NotInjected}
	if pod.injected() {
		g.State = Injected
		status := inject.StatusOf(pod.Pod)
		g.Mode = status.Mode
		if id, err := spiffeid.FromString(status.SPIFFEID); err == nil {
			g.ID = id
		}
		g.Asked, g.admitted = inject.Original(pod.Pod), inject.AppProtocolsOf(pod.Pod)
	}
	if g.State == Injected {
		m.parse(g)
		g.Intent.ID, g.Intent.Proxy.ID = g.ID, g.ID // a running pod keeps that of its injection
	}
	decision, err := intent.Decide(m.namespace(w.Namespace), g.Asked)
	var refusal *intent.Refusal
	switch {
	case errors.As(err, &refusal):
		g.Mistakes = slices.Concat(refusal.Mistakes, g.Mistakes)
	case g.State == NotInjected && !decision.Inject:
		g.State = NotAsked
	case g.State == NotInjected && m.serves(w.Namespace):
		m.parse(g)
	}
	g.decided = decision.Reason
	return g
}

// fromTemplate is the group of the pods that a workload's template will make.
func (m *Mesh) fromTemplate(w *Workload) *Group {
	g := &Group{Of: w, Asked: w.Template.Pod, State: Injected}
	decision, err := intent.Decide(m.namespace(w.Namespace), g.Asked)
	var refusal *intent.Refusal
	switch {
	case errors.As(err, &refusal):
		g.State, g.Mistakes = Denied, refusal.Mistakes
	case !decision.Inject:
		g.State = NotAsked
	case !m.serves(w.Namespace):
		g.State = NotInjected
	default:
		m.parse(g)
		g.ID, g.Mode = g.Intent.ID, g.Intent.Mode.String()
		if len(g.Mistakes) == 0 {
			g.Mistakes = m.injectionMistakes(g)
		}
		if len(g.Mistakes) > 0 {
			g.State = Denied
		}
	}
	g.decided = decision.Reason
	return g
}

// parse reads what a group asks for, if the platform is known.
func (m *Mesh) parse(g *Group) {
	if m.Platform == nil {
		return
	}
	ns := m.namespace(g.Of.Namespace)
	key := digestOf(ns.Name, ours(g.Asked.Annotations), g.Asked.Labels, g.Asked.Spec.ServiceAccountName, portsOf(g.Asked), g.admitted)
	known, ok := m.parsed[key]
	if !ok {
		known.intent, known.mistakes = intent.ParseAdmitted(*m.Platform, ns, g.Asked, g.admitted)
		if !intent.IsOver(known.mistakes) {
			known.mistakes = append(known.mistakes, m.Platform.RefusedExceptions(ns, known.intent)...)
			known.mistakes = append(known.mistakes, m.Platform.QuarantineMistakes(known.intent.ID)...)
		}
		m.parsed[key] = known
	}
	g.Intent, g.Mistakes, g.Known = known.intent, known.mistakes, true
}

// injectionMistakes are those that only injection finds, such as a port that the app declares and Envoy needs.
func (m *Mesh) injectionMistakes(g *Group) []intent.Mistake {
	if m.Platform == nil {
		return nil
	}
	injector := inject.Injector{Platform: *m.Platform, Kubernetes: m.Kubernetes}
	return injector.Mistakes(m.namespace(g.Of.Namespace), g.Asked, m.takes(g))
}

// probesSize is more than Envoy's configuration takes for the probes and hooks of a container, of which running pods
// are kept without.
const probesSize = 20 << 10

// takes bounds the bytes of the configuration that the Envoys of a group will have, by what runs for the same ports and
// upstreams: twice as much. Zero where no such pod runs.
func (m *Mesh) takes(g *Group) int {
	for _, other := range slices.Concat(g.Of.Groups, m.running[g.Of.Object]) {
		if other.serves() && len(other.Pods) > 0 && reflect.DeepEqual(other.Intent.Proxy.Inbound, g.Intent.Proxy.Inbound) &&
			reflect.DeepEqual(other.Intent.Proxy.Upstreams, g.Intent.Proxy.Upstreams) {
			spec := g.Asked.Spec
			return 2*other.Pods[0].written + probesSize*(len(spec.InitContainers)+len(spec.Containers))
		}
	}
	return 0
}

// namespace is what of a namespace decides about its new pods.
func (m *Mesh) namespace(name string) intent.Namespace {
	ns := m.Facts.namespace(name)
	ns.Services = m.saying[name]
	return ns
}

// serves says whether the webhook is asked about the pods of a namespace, true where that is not known.
func (m *Mesh) serves(namespace string) bool {
	return m.Serves == nil || m.Serves(m.namespace(namespace).Labels)
}

// workloadOf names what a pod is a replica of: its controller, and of a ReplicaSet the Deployment, and of a Job the
// CronJob.
func workloadOf(pod *corev1.Pod, controllers map[Object]Object) Object {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return Object{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
	}
	o := Object{Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name}
	if hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; o.Kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
			o.Kind, o.Name = "Deployment", deployment
		}
	}
	if above, ok := controllers[o]; ok {
		return above
	}
	return o
}

// ofOnePod are labels that controllers give to each pod of its own.
var ofOnePod = []string{
	appsv1.StatefulSetPodNameLabel,
	appsv1.PodIndexLabel,
	batchv1.JobNameLabel,
	batchv1.ControllerUidLabel,
	batchv1.JobCompletionIndexAnnotation,
	"job-name",
	"controller-uid",
}

// shared are the labels that pods of one workload have in common.
func shared(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	for _, key := range ofOnePod {
		delete(out, key)
	}
	return out
}

// digestOf distinguishes what pods say.
func digestOf(values ...any) [sha256.Size]byte {
	text, err := json.Marshal(values)
	if err != nil {
		return [sha256.Size]byte{} // cannot be: there are texts and numbers alone
	}
	return sha256.Sum256(text)
}

// ours are the annotations under our prefix.
func ours(annotations map[string]string) map[string]string {
	out := map[string]string{}
	for key, text := range annotations {
		if strings.HasPrefix(key, intent.Prefix) {
			out[key] = text
		}
	}
	return out
}

func portsOf(pod *corev1.Pod) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for c := range intent.ContainersOf(pod) {
		ports = append(ports, c.Ports...)
	}
	return ports
}
