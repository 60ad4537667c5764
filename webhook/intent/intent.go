package intent

import (
	"fmt"
	"maps"
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

	// What Envoy does, and how its container is made; of no meaning without one.
	Inbound   []ir.Inbound
	Upstreams []ir.Upstream
	Sidecar   Sidecar
	// CertificateSecret names the Secret whose certificate inbound listeners show; empty if none does.
	CertificateSecret string
}

// ParseIntent reads the annotations of a pod over those of its namespace over the platform's defaults. The intent is of use
// only without mistakes.
func ParseIntent(p Platform, ns Namespace, pod *corev1.Pod) (Intent, []Mistake) {
	d := newDraft(p)
	written := p.written(ns, pod)
	mistakes := d.read(written)

	in := Intent{
		Subject: subject(ns, pod),
		Mode:    d.mode,
		ID:      d.id,
		Attributes: registrar.Attributes{
			X509SVIDTTL:   d.x509SVIDTTL,
			JWTSVIDTTL:    d.jwtSVIDTTL,
			FederatesWith: d.federated,
			DNSNames:      d.dnsNames,
			Downstream:    d.downstream,
			Admin:         d.admin,
		},
		Inbound:           d.listeners(),
		Upstreams:         d.upstreams,
		Sidecar:           d.sidecar,
		CertificateSecret: d.certificateSecret,
	}
	id, inIdentity := d.identity(in.Subject, written)
	in.ID, in.Inbound = id, withAudiences(in.Inbound, id)
	mistakes = append(mistakes, inIdentity...)
	mistakes = append(mistakes, d.claimMistakes(in, written)...)
	mistakes = append(mistakes, d.clientMistakes(in.Inbound, written)...)
	// What seems to be missing may be there under a wrong name, or not be needed in the mode that is meant: that is told already.
	if len(p.UnknownKeys(pod.Annotations))+len(p.UnknownKeys(ns.Annotations)) == 0 && !d.modeUnclear {
		mistakes = append(mistakes, d.omissions(written)...)
	}
	return in, append(mistakes, portMistakes(in, pod, written)...)
}

// value is an annotation's value and where it was written.
type value struct {
	text  string
	of    string // for messages: empty for the pod, else " of namespace X"
	onPod bool
}

// where says which annotation a mistake is in.
func (v value) where(key, path string) string { return "annotation " + key + path + v.of }

// written are the annotations under our prefix that count for a pod: its own, and those of its namespace that it does not
// write itself.
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
var onlyWithEnvoy = []string{AnnotationAppPort, AnnotationInbound, AnnotationUpstreams, AnnotationAllowedPeers, AnnotationEnforcement}

// unfit takes away what a namespace gives to its pods by default and this pod's mode has no use for.
func (d *draft) unfit(key string, v value) bool {
	switch {
	case v.onPod:
		return false
	case d.mode.Gateway:
		return key == AnnotationAppPort
	}
	return !d.mode.Envoy() && slices.Contains(onlyWithEnvoy, key)
}

// read parses the annotations in the order of the table, and then tells which ones are not in it.
func (d *draft) read(written map[string]value) []Mistake {
	var mistakes []Mistake
	for _, row := range annotations {
		v, ok := written[row.key]
		if !ok {
			continue
		}
		if d.unfit(row.key, v) {
			delete(written, row.key)
			continue
		}
		switch {
		case row.parse == nil:
			mistakes = append(mistakes, Mistake{Where: v.where(row.key, ""), What: "is written by the webhook alone", Hint: "remove it"})
		case slices.Contains(d.platform.Locked, row.name()):
			mistakes = append(mistakes, Mistake{Where: v.where(row.key, ""), What: "is locked by the platform", Hint: "remove it, or ask the platform team"})
		case !d.mode.Envoy() && slices.Contains(onlyWithEnvoy, row.key):
			mistakes = append(mistakes, Mistake{Where: v.where(row.key, ""), What: "has no effect in mode " + d.mode.String() + ", which has no Envoy",
				Hint: fmt.Sprintf("remove it, or write %s: %s", AnnotationMode, ModeSidecarSocket)})
		default:
			for _, p := range row.parse(d, v.text) {
				mistakes = append(mistakes, Mistake{Where: v.where(row.key, p.path), What: p.err.Error()})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(written)) {
		if _, known := annotationFor(key); known {
			continue
		}
		if key == LabelInject {
			mistakes = append(mistakes, Mistake{Where: written[key].where(key, ""), What: "is a label, not an annotation", Hint: "move it to labels"})
			continue
		}
		mistakes = append(mistakes, Mistake{Where: written[key].where(key, ""), What: "unknown key", Hint: orKnownKeys(didYouMean(key, WrittenByUsers()...))})
	}
	return mistakes
}

func orKnownKeys(hint string) string {
	if hint != "" {
		return hint
	}
	return "expected one of " + strings.Join(WrittenByUsers(), ", ")
}

// omissions are annotations that have no sense without another one, or beside it.
func (d *draft) omissions(written map[string]value) []Mistake {
	has := func(key string) bool { _, ok := written[key]; return ok }
	inbound := has(AnnotationAppPort) || has(AnnotationInbound)
	var mistakes []Mistake
	tell := func(where, what, hint string) {
		mistakes = append(mistakes, Mistake{Where: where, What: what, Hint: hint})
	}
	if has(AnnotationAppPort) && has(AnnotationInbound) && d.mode.Envoy() {
		tell("annotation "+AnnotationInbound, "says the same as "+AnnotationAppPort+", only one of them is possible", "remove "+AnnotationAppPort)
	}
	if slices.Contains(d.defaultPeers, true) && len(d.peers) == 0 && !has(AnnotationAllowedPeers) {
		hint := `an example: "/web, /ns/prod/*"`
		if slices.ContainsFunc(d.inbound, func(in ir.Inbound) bool { return in.Clients == ir.Request && len(in.Peers) == 0 }) {
			hint += "; or clientCertificate: none, where nobody shows one"
		}
		tell("annotation "+AnnotationAllowedPeers, "expected at least one peer that may call, got none", hint)
	}
	// A namespace's default peers are of use to those of its pods that have a port.
	if written[AnnotationAllowedPeers].onPod && d.mode.Envoy() {
		switch {
		case !inbound:
			tell("annotation "+AnnotationAllowedPeers, "has no effect without an inbound listener",
				"add "+AnnotationAppPort+" with the port on which the app listens, or remove it")
		case len(d.inbound) > 0 && !slices.Contains(d.defaultPeers, true):
			tell("annotation "+AnnotationAllowedPeers, "has no effect: every listener of "+AnnotationInbound+" has peers of its own, no TLS or clientCertificate: none", "remove it")
		}
	}
	switch {
	case d.mode.Gateway && (!has(AnnotationInbound) || !has(AnnotationUpstreams)):
		tell("annotations", fmt.Sprintf("expected %s and %s for a gateway: where it listens, and where requests go", AnnotationInbound, AnnotationUpstreams), "")
	case d.mode.Sidecar && !d.mode.Socket && !inbound && !has(AnnotationUpstreams):
		tell("annotations", fmt.Sprintf("expected %s, %s or both, got neither: the sidecar would have nothing to do", AnnotationAppPort, AnnotationUpstreams), "")
	case d.mode.Sidecar && d.mode.Socket && !inbound && !has(AnnotationUpstreams):
		tell("annotations", fmt.Sprintf("expected %s, %s or both, got neither: the sidecar would have nothing to do", AnnotationAppPort, AnnotationUpstreams),
			fmt.Sprintf("write %s: %s for the Workload API alone", AnnotationMode, ModeSocket))
	}
	return mistakes
}

// subject is who a pod is to the API server.
func subject(ns Namespace, pod *corev1.Pod) Subject {
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = defaultAccount
	}
	return Subject{Namespace: ns.Name, ServiceAccount: account, Labels: pod.Labels}
}
