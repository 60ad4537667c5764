package webhooktest

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Hostile is a pod that is small for what it would make an injector do.
type Hostile struct {
	Name string
	Pod  *corev1.Pod
	// Bound is the name of the platform's limit that it passes; empty if it is denied for something else, or admitted.
	Bound string
}

// HostilePods are pods by which a tenant would exhaust an injector that did the work that they ask for. No two calls
// with different numbers return the same pods: nothing that one of them leaves serves another.
func HostilePods(number int) []Hostile {
	of := func(name, bound string, change func(pod *corev1.Pod)) Hostile {
		pod := Server()
		pod.Labels["number"] = fmt.Sprint(number)
		pod.Annotations[intent.AnnotationAllowedPeers] = fmt.Sprintf("/web-%d", number)
		change(pod)
		return Hostile{Name: name, Pod: pod, Bound: bound}
	}
	annotated := func(name, bound, key, text string) Hostile {
		return of(name, bound, func(pod *corev1.Pod) {
			if key == intent.AnnotationInbound {
				delete(pod.Annotations, intent.AnnotationAppPort)
				delete(pod.Annotations, intent.AnnotationAllowedPeers)
			}
			pod.Annotations[key] = text
		})
	}
	return []Hostile{
		annotated("aliases", "annotationBytes", intent.AnnotationInbound, aliases(number, 300, 1000)),
		annotated("aliases of aliases", "annotationBytes", intent.AnnotationInbound, laughs(number)),
		annotated("an alias of itself", "annotationBytes", intent.AnnotationInbound, "&a [*a]"),
		annotated("listeners times peers", "listeners", intent.AnnotationInbound, listeners(number, 120, 20)),
		annotated("callers", "callers", intent.AnnotationInbound, listeners(number, 30, 90)),
		annotated("peers of all listeners", "peers", intent.AnnotationInbound, listeners(number, 32, 60)),
		annotated("larger than annotations can be", "", intent.AnnotationUpstreams,
			strings.ReplaceAll(upstreams(number, 128), "/a, /b", strings.Repeat("/a", 40)+", "+strings.Repeat("/b", 40))),
		of("as many callers as are allowed", "", func(pod *corev1.Pod) {
			delete(pod.Annotations, intent.AnnotationAppPort)
			pod.Annotations[intent.AnnotationAllowedPeers] = peers(number, 62)
			pod.Annotations[intent.AnnotationInbound] = strings.ReplaceAll(listeners(number, 32, 0), ", peers: []", "")
		}),
		of("as much as is allowed of everything", "", func(pod *corev1.Pod) {
			delete(pod.Annotations, intent.AnnotationAppPort)
			pod.Annotations[intent.AnnotationAllowedPeers] = peers(number, 46)
			pod.Annotations[intent.AnnotationInbound] = strings.ReplaceAll(listeners(number, 32, 0), ", peers: []", "")
			pod.Annotations[intent.AnnotationUpstreams] = upstreams(number, 128)
			pod.Spec.Containers = containers(60)
		}),
		of("routes of a gateway", "", func(pod *corev1.Pod) {
			pod.Annotations = map[string]string{intent.AnnotationMode: "gateway"}
			pod.Annotations[intent.AnnotationInbound] = strings.ReplaceAll(listeners(number, 4, 1), "app: 8080, ", "")
			pod.Annotations[intent.AnnotationUpstreams] = strings.ReplaceAll(upstreams(number, 128), "listen: ", "match: /")
			pod.Spec.Containers = []corev1.Container{{Name: "envoy", Image: "auto"}}
		}),
		annotated("as much as is allowed", "", intent.AnnotationInbound, listeners(number, 10, 60)),
		annotated("45,000 peers", "annotationBytes", intent.AnnotationAllowedPeers, peers(number, 45_000)),
		annotated("as many peers as fit", "peers", intent.AnnotationAllowedPeers, peers(number, 7_000)),
		annotated("40,000 bad peers", "annotationBytes", intent.AnnotationAllowedPeers, strings.Repeat("bad*peer ", 40_000)),
		annotated("bad peers", "", intent.AnnotationAllowedPeers, strings.Repeat("bad*peer ", 999)),
		annotated("empty listeners", "listeners", intent.AnnotationInbound, "["+strings.Repeat("{},", 21_000)+"{}]"),
		annotated("empty upstreams", "upstreams", intent.AnnotationUpstreams, "["+strings.Repeat("{},", 21_000)+"{}]"),
		annotated("nested lists", "", intent.AnnotationUpstreams, strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)),
		annotated("rules", "rules", intent.AnnotationInbound,
			"[{listen: 8443, app: 8080, peers: ["+strings.Repeat("{id: /a, methods: [GET]}, ", 900)+"]}]"),
		annotated("one long text", "", intent.AnnotationUpstreams,
			`[{listen: 8000, address: "`+strings.Repeat("x", 60_000)+`:1", peers: [/a]}]`),
		annotated("subjects of tokens", "peers", intent.AnnotationInbound,
			"[{listen: 8443, app: 8080, peers: [/a], jwt: {subjects: ["+strings.Repeat("/x, ", 9_000)+"/y]}}]"),
		of("unknown keys", "annotationBytes", func(pod *corev1.Pod) {
			for i := range 15_000 {
				pod.Annotations[fmt.Sprintf("%sx%d", intent.Prefix, i)] = ""
			}
		}),
		of("as many unknown keys as fit", "", func(pod *corev1.Pod) {
			for i := range 3_500 {
				pod.Annotations[fmt.Sprintf("%sx%d", intent.Prefix, i)] = ""
			}
		}),
		of("40 entries", "entries", func(pod *corev1.Pod) {
			pod.Annotations = map[string]string{intent.AnnotationMode: "socket"}
			pod.Spec.Containers = containers(40)
		}),
		of("30,000 containers", "containers", func(pod *corev1.Pod) { pod.Spec.Containers = containers(30_000) }),
		of("50,000 ports", "ports", func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Ports = make([]corev1.ContainerPort, 50_000)
			for i := range int32(50_000) {
				pod.Spec.Containers[0].Ports[i] = corev1.ContainerPort{Name: "http", ContainerPort: i + 1}
			}
		}),
	}
}

func aliases(number, listeners, peers int) string {
	var text strings.Builder
	for i := range listeners {
		list := "*p"
		if i == 0 {
			var names []string
			for n := range peers {
				names = append(names, fmt.Sprintf("/%d-%d", number, n))
			}
			list = "&p [" + strings.Join(names, ",") + "]"
		}
		fmt.Fprintf(&text, "- {listen: %d, app: 8080, peers: %s}\n", 20_000+i, list)
	}
	return text.String()
}

// laughs grows by ten with each level.
func laughs(number int) string {
	text := fmt.Sprintf("- &a0 [/%d]\n", number)
	for i := range 8 {
		text += fmt.Sprintf("- &a%d [%s]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 10))
	}
	return text
}

func listeners(number, listeners, peers int) string {
	var text strings.Builder
	for i := range listeners {
		fmt.Fprintf(&text, "- {listen: %d, app: 8080, peers: [", 20_000+i)
		for n := range peers {
			fmt.Fprintf(&text, "/%d-%d,", number, n)
		}
		text.WriteString("]}\n")
	}
	return text.String()
}

func upstreams(number, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "- {listen: %d, address: \"u%d-%d:8443\", peers: [/a, /b, /c, /%d]}\n",
			25_000+i, number, i, number)
	}
	return text.String()
}

func peers(number, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "/%d-%d ", number, i)
	}
	return text.String()
}

func containers(n int) []corev1.Container {
	all := make([]corev1.Container, n)
	for i := range all {
		all[i] = corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "app"}
	}
	return all
}
