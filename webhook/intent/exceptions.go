package intent

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Exception is one way in which an injected pod falls short of mutual TLS for all that its app is called with. In a
// namespace that requires injection it takes a permission of the platform.
type Exception string

// The exceptions.
const (
	ExceptionSocket       Exception = "socket"
	ExceptionFiles        Exception = "files"
	ExceptionPublic       Exception = "public"
	ExceptionPermissive   Exception = "permissive"
	ExceptionPodIP        Exception = "podIP"
	ExceptionHostPort     Exception = "hostPort"
	ExceptionSharePIDs    Exception = "shareProcessNamespace"
	ExceptionHostPID      Exception = "hostPID"
	ExceptionPrivateImage Exception = "proxyImage"
	ExceptionPlainPorts   Exception = "plainPorts"
)

// exception is one row of the table of exceptions: everything that is known of one is known from here.
type exception struct {
	name Exception
	doc  string // for the platform team
	// told says that it is no choice between kinds of ports or modes, so that authors may not know what it means: they
	// are warned where it is allowed.
	told bool
	// found are the places of a pod where it is, with what that means and what to do.
	found func(r *reader, pod *corev1.Pod) []Mistake
}

// exceptions is the only place where an exception is defined.
var exceptions = []exception{
	{
		name: ExceptionSocket, doc: "mode socket alone, without an Envoy",
		found: func(r *reader, _ *corev1.Pod) []Mistake { return r.withoutEnvoy(r.Mode.Socket) },
	},
	{
		name: ExceptionFiles, doc: "mode files without an Envoy, where the app itself decides who is let in",
		found: func(r *reader, _ *corev1.Pod) []Mistake { return r.withoutEnvoy(r.Mode.Files) },
	},
	{
		name: ExceptionPublic, doc: "ports for callers without a certificate: tls none, clientCertificate optional or none",
		found: func(r *reader, _ *corev1.Pod) []Mistake {
			return r.inListeners(func(l ir.Inbound) (field, what string) {
				switch {
				case l.TLS == ir.None:
					return ".tls", "with tls " + l.TLS.String() + " callers come in plain text"
				case l.Public():
					return ".clientCertificate",
						"with clientCertificate " + l.Clients.String() + " callers come without a certificate"
				}
				return "", ""
			}, "remove it")
		},
	},
	{
		name: ExceptionPermissive, doc: "ports that take plain text beside mutual TLS, for the time of a migration",
		found: func(r *reader, _ *corev1.Pod) []Mistake {
			return r.inListeners(func(l ir.Inbound) (field, what string) {
				if l.TLS != ir.Permissive {
					return "", ""
				}
				return ".tls", "with tls " + l.TLS.String() + " callers may come in plain text"
			}, "write "+ir.Mutual.String())
		},
	},
	{
		name: ExceptionPodIP, doc: "apps on the address of their pod, where plain text reaches them past Envoy", told: true,
		found: func(r *reader, _ *corev1.Pod) []Mistake {
			return r.inListeners(func(l ir.Inbound) (field, what string) {
				if l.AppHost != ir.PodIP || r.Proxy.Captured {
					return "", ""
				}
				return ".app", "plain text reaches an app on the address of its pod past Envoy"
			}, "let it listen on 127.0.0.1")
		},
	},
	{
		name: ExceptionHostPort, doc: "ports of the node that lead to the app past Envoy", told: true,
		found: appHostPorts,
	},
	{
		name: ExceptionSharePIDs, doc: "containers that see the processes of Envoy, and may read its key", told: true,
		found: func(r *reader, pod *corev1.Pod) []Mistake {
			if s := pod.Spec.ShareProcessNamespace; !r.Mode.Sidecar || s == nil || !*s {
				return nil
			}
			return []Mistake{{
				Where: "spec.shareProcessNamespace",
				What:  "a container of the pod with Envoy's user, or with the capability SYS_PTRACE, can read Envoy's key",
				Hint:  "remove it",
			}}
		},
	},
	{
		name: ExceptionHostPID, doc: "the same by the processes of the node", told: true,
		found: func(r *reader, pod *corev1.Pod) []Mistake {
			if !r.Mode.Sidecar || !pod.Spec.HostPID {
				return nil
			}
			return []Mistake{{
				Where: "spec.hostPID",
				What:  "the pod sees all processes of the node, and may read the key of Envoy, and of other pods",
				Hint:  "remove it",
			}}
		},
	},
	{
		name: ExceptionPrivateImage, told: true,
		doc: "Envoys of an image that the pod names itself, which may be something else",
		found: func(r *reader, _ *corev1.Pod) []Mistake {
			v, ok := r.written[AnnotationProxyImage]
			if !ok || !v.onPod || !r.Mode.Envoy() {
				return nil
			}
			return []Mistake{{
				Where: v.where(AnnotationProxyImage, ""),
				What:  "whatever is in this image gets the SVID and its key, and decides who is let in",
				Hint:  "remove it",
			}}
		},
	},
	{
		name: ExceptionPlainPorts, doc: "ports of the app that are listed in " + AnnotationPlainPorts + ", which stay open for plain text",
		found: func(r *reader, _ *corev1.Pod) []Mistake {
			v, ok := r.written[AnnotationPlainPorts]
			if !ok || !r.Mode.Envoy() {
				return nil
			}
			return []Mistake{{
				Where: v.where(AnnotationPlainPorts, ""),
				What:  "plain text reaches the app on these ports past Envoy",
				Hint:  "remove it",
			}}
		},
	},
}

// Exceptions are the names of all, in the order of the table.
func Exceptions() []string {
	names := make([]string, len(exceptions))
	for i, row := range exceptions {
		names[i] = string(row.name)
	}
	return names
}

// FoundException is an exception in a pod.
type FoundException struct {
	Exception
	Mistake      // if it may not be there
	told    bool // as in the table
}

func (r *reader) findExceptions(pod *corev1.Pod) {
	for _, row := range exceptions {
		for _, m := range row.found(r, pod) {
			r.Exceptions = append(r.Exceptions, FoundException{Exception: row.name, Mistake: m, told: row.told})
		}
	}
}

// withoutEnvoy is the mistake of a pod without Envoy, if it is so.
func (r *reader) withoutEnvoy(is bool) []Mistake {
	if r.Mode.Envoy() || !is {
		return nil
	}
	return []Mistake{{
		Where: r.written[AnnotationMode].where(AnnotationMode, ""),
		What:  "in mode " + r.Mode.String() + " nothing brings mutual TLS about",
		Hint:  "write " + r.Mode.with("sidecar").String(),
	}}
}

// inListeners finds inbound listeners by a field of theirs, which is empty for others. Only the annotation inbound has
// such.
func (r *reader) inListeners(field func(ir.Inbound) (field, what string), hint string) []Mistake {
	if !r.Mode.Envoy() {
		return nil
	}
	var found []Mistake
	v := r.written[AnnotationInbound]
	for i, l := range r.Proxy.Inbound {
		if at, what := field(l); what != "" {
			where := v.where(AnnotationInbound, fmt.Sprintf("[%d]%s", i, at))
			found = append(found, Mistake{Where: where, What: what, Hint: hint})
		}
	}
	return found
}

// appHostPorts are the ports of the app that the node shows as its own.
func appHostPorts(r *reader, pod *corev1.Pod) []Mistake {
	if !r.Mode.Sidecar || r.Proxy.Captured { // then they lead to Envoy, if anywhere
		return nil
	}
	var found []Mistake
	for c := range ContainersOf(pod) {
		for n, p := range c.Ports {
			if c.Name == SidecarName || p.HostPort == 0 || p.Protocol == corev1.ProtocolUDP {
				continue
			}
			found = append(found, Mistake{
				Where: fmt.Sprintf("container %s, ports[%d].hostPort", c.Name, n),
				What:  fmt.Sprintf("port %d of the node leads plain text to the app past Envoy", p.HostPort),
				Hint:  "remove it",
			})
		}
	}
	return found
}

// RefusedExceptions are those of a pod that its namespace does not take: none unless it requires injection.
func (p Platform) RefusedExceptions(ns Namespace, in Intent) []Mistake {
	var refused []Mistake
	for _, found := range in.Exceptions {
		if !p.refuses(ns, found) {
			continue
		}
		m := found.Mistake
		m.What = fmt.Sprintf("namespace %s requires mutual TLS: %s", ns.Name, m.What)
		m.Hint += fmt.Sprintf(", or ask the platform team to add %s to required.allow", found.Exception)
		refused = append(refused, m)
	}
	return refused
}

// Warnings are the exceptions of a pod that is admitted with them, but for those that say what they are, and the notes.
func (p Platform) Warnings(ns Namespace, in Intent) []string {
	var warnings []string
	for _, found := range in.Exceptions {
		if found.told && !p.refuses(ns, found) {
			warnings = append(warnings, found.Mistake.String())
		}
	}
	for _, note := range in.Notes {
		warnings = append(warnings, note.String())
	}
	return warnings
}

func (p Platform) refuses(ns Namespace, found FoundException) bool {
	return ns.Labels[LabelInject] == InjectRequired && !slices.Contains(p.AllowedExceptions, found.Exception)
}

// docOfExceptions lists the table.
func docOfExceptions() string {
	var items []string
	for _, row := range exceptions {
		items = append(items, fmt.Sprintf("%s (%s)", row.name, row.doc))
	}
	return strings.Join(items, ", ")
}
