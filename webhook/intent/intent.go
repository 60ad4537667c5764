package intent

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// Intent is what a pod and its namespace ask for, checked and complete.
type Intent struct {
	Subject Subject
	Mode    Mode

	// ID is the identity, and the attributes those of its registration entries.
	ID spiffeid.ID
	registrar.Attributes

	// Proxy is what Envoy does, checked. Sidecar is how its container is made. Both are of no meaning without one.
	Proxy   ir.Proxy
	Sidecar Sidecar
	// CertificateSecret names the Secret whose certificate inbound listeners present; empty if none does.
	CertificateSecret string
	// AppProtocols are what was found of the app's ports; nil if nothing but HTTP/1 was.
	AppProtocols AppProtocols
	// Files are of no meaning without mode files.
	Files Files
	// Exceptions are what [Platform.RefusedExceptions] decides on.
	Exceptions []FoundException
	// Notes are what the author of the pod should know.
	Notes []Mistake
	// Origins say where it was written.
	Origins Origins
}

// ParseIntent reads the annotations of a pod over those of its namespace over the platform's defaults. The intent is of
// use only without mistakes.
func ParseIntent(p Platform, ns Namespace, pod *corev1.Pod) (Intent, []Mistake) {
	return ParseAdmitted(p, ns, pod, nil)
}

// ParseAdmitted is [ParseIntent] of a pod that was admitted and whose app speaks what was found then: neither the names of
// its ports nor Services count. Nil is a new pod.
func ParseAdmitted(p Platform, ns Namespace, pod *corev1.Pod, admitted AppProtocols) (Intent, []Mistake) {
	r := newReader(p, ns, pod)
	r.admitted = admitted
	if over := r.sizeMistakes(pod); len(over) > 0 {
		return Intent{Subject: r.Subject}, over
	}
	mistakes := r.read()
	r.captureDeclared(pod)
	if over := r.countMistakes(pod); len(over) > 0 {
		return r.Intent, append(over, mistakes...)
	}
	mistakes = append(mistakes, r.readIdentity()...)
	mistakes = append(mistakes, r.claimMistakes()...)
	mistakes = append(mistakes, r.readAppProtocols(pod)...)
	r.complete(pod)
	mistakes = append(mistakes, r.captureMistakes(pod)...)
	r.findExceptions(pod)
	r.noteOpenPort(ns, pod)
	r.noteServices(ns, pod)
	r.findOrigins()
	// What seems to be missing may be there under a wrong name, or not be needed in the mode that is meant: that is told
	// already.
	r.unclear = r.modeUnclear || len(p.UnknownKeys(pod.Annotations))+len(p.UnknownKeys(ns.Annotations)) > 0
	if !r.unclear {
		mistakes = append(mistakes, r.unusedMistakes()...)
	}
	return r.Intent, append(mistakes, r.modelMistakes()...)
}

// complete gives the proxy what no annotation says, and what one says for all listeners.
func (r *reader) complete(pod *corev1.Pod) {
	p := &r.Proxy
	p.ID, p.SVIDTTL = r.ID, r.X509SVIDTTL
	p.AgentSocket = path.Join(SocketMountPath, r.platform.AgentSocket.File)
	p.MemoryLimit = memoryBound(r.Sidecar.Resources)
	if f := r.platform.IPFamily; f != nil {
		p.IPFamily = *f
	}
	p.ClusterDomain = r.platform.ClusterDomain
	p.Gateway, p.Metrics, p.Drain = r.Mode.Gateway, r.Sidecar.Metrics, r.platform.Drain
	p.UnboundedStreams, p.Tracing = r.Sidecar.UnboundedStreams, r.Sidecar.Tracing
	for i, l := range r.inbound {
		in := l.Inbound
		if l.defaultPeers {
			in.Peers = r.peers
		}
		switch {
		case l.ownAudience && r.ID.IsZero():
			r.told.add(fmt.Sprintf("%s[%d].jwt.audiences", modelInbound, i))
		case l.ownAudience:
			in.JWT.Audiences = []string{r.ID.String()}
		}
		in.Audit = r.audit && in.ChecksRequests()
		p.Inbound = append(p.Inbound, in)
	}
	if r.Mode.Envoy() {
		p.AppPorts = appPorts(pod)
	}
	p.PlaceNames()
	r.noteNames()
	p.Refuse(r.platform.Quarantine)
	if r.Mode.Sidecar {
		r.readProbes(pod)
	}
}

// value is an annotation's value and where it was written.
type value struct {
	text  string
	of    string // for messages: empty for the pod, else " of namespace X"
	onPod bool
}

// where says which annotation a mistake is in.
func (v value) where(key, path string) string { return "annotation " + key + path + v.of }

// written are the annotations under our prefix that count for a pod: its own, and those of its namespace that it does
// not write itself.
func (p Platform) written(ns Namespace, pod *corev1.Pod) map[string]value {
	all := map[string]value{}
	for key, text := range ns.Annotations {
		if p.isOurs(key) {
			all[key] = value{text: text, of: " of namespace " + ns.Name}
		}
	}
	for key, text := range pod.Annotations {
		if !p.isOurs(key) {
			continue
		}
		switch key { // two ways to say one thing: the pod's takes the place of either
		case AnnotationAppPort, AnnotationInbound:
			for _, other := range []string{AnnotationAppPort, AnnotationInbound} {
				if !all[other].onPod {
					delete(all, other)
				}
			}
		}
		all[key] = value{text: text, onPod: true}
	}
	return all
}

// onlyWithEnvoy are annotations that say what Envoy does.
var onlyWithEnvoy = []string{
	AnnotationCapture,
	AnnotationAppPort,
	AnnotationInbound,
	AnnotationUpstreams,
	AnnotationAllowedPeers,
	AnnotationEnforcement,
	AnnotationPlainPorts,
}

// OnlyWithEnvoy are the annotations of a pod's own that have no effect in a mode without Envoy.
func OnlyWithEnvoy(pod *corev1.Pod) []string {
	return slices.DeleteFunc(slices.Clone(onlyWithEnvoy), func(key string) bool {
		_, has := pod.Annotations[key]
		return !has
	})
}

// applies says whether an annotation has a meaning for the pod. What a namespace gives to its pods by default and this
// pod's mode has no use for does not apply; what the pod says itself always does.
func (r *reader) applies(key string, v value) bool {
	switch {
	case v.onPod:
		return true
	case key == AnnotationFiles:
		return r.Mode.Files
	case key == AnnotationPlainPorts && r.Proxy.Captured:
		return false
	case r.Mode.Gateway:
		return key != AnnotationAppPort && key != AnnotationCapture
	}
	return r.Mode.Envoy() || !slices.Contains(onlyWithEnvoy, key)
}

// read parses the annotations in the order of the table, and then tells which ones are not in it.
func (r *reader) read() []Mistake {
	var mistakes []Mistake
	for _, row := range annotations {
		v, ok := r.written[row.key]
		if !ok {
			continue
		}
		if !r.applies(row.key, v) {
			delete(r.written, row.key)
			continue
		}
		mistakes = append(mistakes, r.readRow(row, v)...)
	}
	unknown := 0
	for _, key := range slices.Sorted(maps.Keys(r.written)) {
		if _, known := annotationFor(key); known {
			continue
		}
		if unknown++; unknown <= maxMistakes { // looking for the nearest key takes more than any other step
			mistakes = append(mistakes, unknownAnnotation(key, r.written[key]))
		}
	}
	if more := unknown - maxMistakes; more > 0 {
		mistakes = append(mistakes, Mistake{Where: "annotations", What: fmt.Sprintf("%d more unknown keys", more)})
	}
	return mistakes
}

// readRow parses one annotation, unless it may not be written.
func (r *reader) readRow(row annotation, v value) []Mistake {
	deny := func(what, hint string) []Mistake {
		r.told.add(row.model)
		return []Mistake{{Where: v.where(row.key, ""), What: what, Hint: hint}}
	}
	switch {
	case row.parse == nil:
		return deny("is written by the webhook alone", "remove it")
	case slices.Contains(r.platform.Locked, row.name()):
		return deny("is locked by the platform", "remove it, or ask the platform team")
	case !r.Mode.Files && row.key == AnnotationFiles:
		return deny("has no effect in mode "+r.Mode.String()+", which has no files",
			fmt.Sprintf("remove it, or write %s: %s", AnnotationMode, r.Mode.withFiles()))
	case !r.Mode.Envoy() && slices.Contains(onlyWithEnvoy, row.key):
		hint := fmt.Sprintf("remove it, or write %s: %s", AnnotationMode, r.Mode.with("sidecar"))
		if r.hostNetwork { // where no Envoy can be
			hint = "remove it"
		}
		return deny("has no effect in mode "+r.Mode.String()+", which has no Envoy", hint)
	}
	if row.key == AnnotationPlainPorts && r.Proxy.Captured {
		return deny("has no effect where ports are captured, which closes all others",
			fmt.Sprintf("remove it, and write %s: [{app: 9090, tls: none}] for a port of plain text", AnnotationInbound))
	}
	var mistakes []Mistake
	for _, p := range row.parse(r, v.text) {
		r.told.add(row.model + p.path)
		mistakes = append(mistakes, Mistake{Where: v.where(row.key, p.path), What: p.err.Error(), Over: isOver(p.err)})
	}
	return mistakes
}

func unknownAnnotation(key string, v value) Mistake {
	if key == LabelInject {
		return Mistake{Where: v.where(key, ""), What: "is a label, not an annotation", Hint: "move it to labels"}
	}
	hint := didYouMean(key, WrittenByUsers()...)
	if hint == "" {
		hint = "expected one of " + strings.Join(WrittenByUsers(), ", ")
	}
	return Mistake{Where: v.where(key, ""), What: "unknown key", Hint: hint}
}

// SubjectOf is who a pod is to the API server.
func SubjectOf(ns Namespace, pod *corev1.Pod) Subject {
	// The API server takes the older spelling for the newer one; manifests have either.
	account := cmp.Or(pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount, defaultAccount)
	return Subject{Namespace: ns.Name, ServiceAccount: account, Labels: pod.Labels}
}
