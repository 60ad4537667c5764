package intent

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Values of AnnotationCapture.
const (
	captureNone    = "none"
	captureInbound = "inbound"
)

func captures() []string { return []string{captureNone, captureInbound} }

// parseCaptures reads what becomes of connections from outside for ports of the app; true is that they come to Envoy.
func parseCaptures(v string) (bool, error) { return v == captureInbound, expectOneOf(v, captures()...) }

func (r *reader) parseCapture(v string) []problem {
	captured, err := parseCaptures(v)
	r.Proxy.Captured = captured
	return whole(err)
}

// defaultCaptureField is that of defaults.
var defaultCaptureField = platformField{
	name: "capture",
	doc: "inbound: the declared ports of pods that do not say it are led to their Envoy, and their other ports closed; " +
		"running pods need new ones",
	standard: captureNone,
	schema:   enumSchema(captures()...),
	parse: one(func(p *Platform, v string) (err error) {
		p.Capture, err = parseCaptures(v)
		if p.Capture && p.Sidecar.Capture.Image == "" {
			return errors.New("inbound takes sidecar.capture.image, the injector's own image, which is not there")
		}
		return err
	}),
}

// captureFields are those of sidecar.capture.
var captureFields = []platformField{
	{
		name: "image",
		doc: "image of the init container spiffe-capture, which has the capability NET_ADMIN: the injector's own; " +
			"required if any pod is captured",
		without: "such pods are denied",
		schema:  notEmptySchema,
		parse: one(func(p *Platform, image string) error {
			p.Sidecar.Capture.Image = image
			if image == "" {
				return nil
			}
			return checkImage(image)
		}),
	},
	{
		name:    "resources",
		doc:     "resources of the init container spiffe-capture",
		without: "none",
		schema:  resourcesSchema,
		parse: parseResourcesInto(func(p *Platform) *corev1.ResourceRequirements {
			return &p.Sidecar.Capture.Resources
		}),
	},
}

// firstCapturedListen is the first port of Envoy for captured ports whose listeners say none.
const firstCapturedListen = 15300

// captureDeclared completes the listeners of a captured pod: each TCP port that its containers declare has one, with
// the default peers if nothing else is written, and each listener a port on which Envoy listens.
func (r *reader) captureDeclared(pod *corev1.Pod) {
	if r.Proxy.Captured = r.Proxy.Captured && r.Mode.Sidecar; !r.Proxy.Captured || r.told.about(modelInbound) {
		return
	}
	declared := appPorts(pod)
	taken := map[uint16]bool{r.Sidecar.Metrics.Port: true}
	led := map[uint16]bool{}
	for _, l := range r.inbound {
		led[l.App], taken[l.Listen] = true, true
	}
	for _, port := range declared {
		taken[port.Port] = true
		if led[port.Port] {
			continue
		}
		led[port.Port] = true
		in := ir.Inbound{App: port.Port}
		in.Limits = r.defaultLimits(in)
		r.inbound = append(r.inbound, listener{Inbound: in, defaultPeers: true, declaredBy: port.Container})
	}
	for _, up := range r.Proxy.Upstreams {
		taken[up.Listen] = true
	}
	next := uint16(firstCapturedListen)
	for i := range r.inbound {
		l := &r.inbound[i]
		// Callers do not see the port of app-port, which may be one of the app's own.
		isApps := slices.ContainsFunc(declared, func(p ir.AppPort) bool { return p.Port == l.Listen })
		if l.Listen != 0 && !(r.short && i == 0 && isApps) {
			continue
		}
		for taken[next] || ir.IsOwnPort(int(next)) {
			next++
		}
		l.Listen, taken[next] = next, true
	}
}

// captureMistakes are what cannot be captured.
func (r *reader) captureMistakes(pod *corev1.Pod) []Mistake {
	v, written := r.written[AnnotationCapture]
	if r.Mode.Gateway && v.onPod && v.text == captureInbound {
		return []Mistake{{
			Where: v.where(AnnotationCapture, ""),
			What:  "has no effect in mode " + r.Mode.String() + ": there is no app whose ports could be captured",
			Hint:  "remove it",
		}}
	}
	if !r.Proxy.Captured || r.told.about(modelInbound) {
		return nil
	}
	var mistakes []Mistake
	// A default is of use to pods that serve nothing: all of their ports are closed.
	if written && v.onPod && len(r.inbound) == 0 {
		mistakes = append(mistakes, Mistake{
			Where: v.where(AnnotationCapture, ""),
			What:  "expected a container that declares a TCP port, got none: nothing would be captured",
			Hint:  "write the ports of the app into ports of its container, or remove the annotation",
		})
	}
	for i, l := range r.inbound {
		if m, wrong := undeclared(pod, l.App); wrong {
			m.Where = r.whereInbound(i, ".app")
			mistakes = append(mistakes, m)
		}
	}
	for _, p := range ProbesOf(pod, ir.Proxy{}) { // with those that are not passed on
		if p.Asked.AppHost = r.Proxy.AppHostOf(p.Asked.App); r.Proxy.PassesOn(p.Asked) {
			continue
		}
		mistakes = append(mistakes, Mistake{
			Where: fmt.Sprintf("container %s, %sProbe", p.Container.Name, p.Kind),
			What: fmt.Sprintf("asks by TCP for port %d at the address of the pod, which is captured: the kubelet would be answered "+
				"by Envoy, whether or not the app listens", p.Asked.App),
			Hint: "write httpGet, grpc or exec; or let the app listen on all addresses or on 127.0.0.1, and write its port without podIP",
		})
	}
	return mistakes
}

// undeclared is the mistake of a listener for a port of the app that no container declares as one of TCP.
func undeclared(pod *corev1.Pod, port uint16) (Mistake, bool) {
	if port == 0 {
		return Mistake{}, false // which is told elsewhere
	}
	m := Mistake{
		What: fmt.Sprintf("expected a port that a container declares, because declared ports are captured, got %d", port),
		Hint: fmt.Sprintf("add {containerPort: %d} to ports of the app's container", port),
	}
	for c := range ContainersOf(pod) {
		for _, declared := range c.Ports {
			if c.Name == SidecarName || int(declared.ContainerPort) != int(port) {
				continue
			}
			if declared.Protocol == "" || declared.Protocol == corev1.ProtocolTCP {
				return Mistake{}, false
			}
			m.What = fmt.Sprintf("expected a TCP port, got %d, which container %s declares with protocol %s", port, c.Name,
				declared.Protocol)
			m.Hint = "only TCP is carried: connections of other protocols reach the app as before"
		}
	}
	return m, true
}

// podSecurityLevels forbid the capability NET_ADMIN (Kubernetes, "Pod Security Standards").
var podSecurityLevels = []string{"baseline", "restricted"}

// enforcesPodSecurity is the label of a namespace whose pods have to keep to a level.
const enforcesPodSecurity = "pod-security.kubernetes.io/enforce"

// CaptureForbidden finds a pod that is to be captured in a namespace where Pod Security forbids it. Like Pod Security,
// it is for new pods.
func CaptureForbidden(ns Namespace, in Intent) []Mistake {
	level := ns.Labels[enforcesPodSecurity]
	if !in.Proxy.Captured || !slices.Contains(podSecurityLevels, level) {
		return nil
	}
	return []Mistake{{
		Where: in.Origins.Capture.Of(ns.Name),
		What: fmt.Sprintf("expected %s in namespace %s, whose label %s=%s forbids the capability NET_ADMIN, without which "+
			"nothing is captured, got %s", captureNone, ns.Name, enforcesPodSecurity, level, captureInbound),
		Hint: fmt.Sprintf("write %s: %s, let the app listen on 127.0.0.1, and let its Services lead to Envoy's port; a "+
			"NetworkPolicy closes the others", AnnotationCapture, captureNone),
	}}
}
