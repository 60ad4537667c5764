package intent

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// bound is one limit of what a pod may ask for.
type bound int

// All bounds.
const (
	boundAnnotationBytes bound = iota
	boundListeners
	boundUpstreams
	boundRoutes
	boundPeers
	boundCallers
	boundRules
	boundTrustDomains
	boundDNSNames
	boundContainers
	boundEntries
	boundPorts
	boundObjects
	boundCount
)

// boundRow is what is known of a bound.
type boundRow struct {
	name     string // in the section limits of the platform file
	standard int
	most     int // that the platform file may set
	counts   string
	how      string // they are counted, for the reference
}

// bounds are all that a pod is measured by before something is made of it. The standards are beyond what people write,
// and small enough that nothing that keeps them takes much longer than an ordinary pod.
var bounds = [boundCount]boundRow{
	boundAnnotationBytes: {"annotationBytes", 64 << 10, 256 << 10,
		"bytes of labels and annotations under " + Prefix,
		", with those of the namespace, and with aliases of YAML written out"},
	boundListeners: {"listeners", 32, 256, "listeners", ""},
	boundUpstreams: {"upstreams", 128, 1024, "upstreams", ""},
	boundRoutes:    {"routes", 512, 8192, "listeners times upstreams of a gateway", ""},
	boundPeers: {"peers", 1000, 10_000,
		"peers in all lists", ", with forwarded clients, and with subjects and audiences of tokens"},
	boundCallers: {"callers", 2000, 20_000,
		"peers of all listeners and upstreams", ", where allowed-peers count at each listener that takes them"},
	boundRules:        {"rules", 64, 64, "peers with methods or paths", ""},
	boundTrustDomains: {"trustDomains", 16, 128, "foreign trust domains", ""},
	boundDNSNames:     {"dnsNames", 32, 256, "DNS names", ""},
	boundContainers:   {"containers", 64, 1024, "containers", " that is injected"},
	boundEntries:      {"entries", 32, 1024, "containers that get an identity", ", each of which is an entry in SPIRE"},
	boundPorts:        {"ports", 512, 8192, "ports of containers", ", which they declare"},
	boundObjects: {"objects", 32 << 10, 256 << 10, "JSON objects",
		" as the API server sends it, managedFields included"},
}

// Bounds are the limits of a platform; zero is the standard of each.
type Bounds [boundCount]int

func (b Bounds) of(which bound) int { return cmp.Or(b[which], bounds[which].standard) }

// overBound is the error of what passes a bound.
type overBound struct {
	which       bound
	found, most int
}

func (e *overBound) Error() string {
	return fmt.Sprintf("expected at most %d %s, got %d; limits.%s of the platform file sets it",
		e.most, bounds[e.which].counts, e.found, bounds[e.which].name)
}

// allow is nil for what a bound lets pass.
func (b Bounds) allow(which bound, found int) error {
	if most := b.of(which); found > most {
		return &overBound{which: which, found: found, most: most}
	}
	return nil
}

// AllowObject measures an object of the API as it arrives: in memory an empty container takes a thousand times its two
// bytes. The error is a [Refusal].
func (b Bounds) AllowObject(raw []byte) error {
	err := b.allow(boundObjects, objectsIn(raw))
	if err == nil {
		return nil
	}
	return Refuse(reason.OverLimit, []Mistake{{Where: "the object", What: err.Error(), Over: true}})
}

// objectsIn counts what becomes a struct: objects, and the word null in a list of them.
func objectsIn(raw []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == 'n'):
			n++
		}
	}
	return n
}

// decode reads a value in YAML.
func (r *reader) decode(text string, into any) error {
	return decodeWithin([]byte(text), func(size measured) error {
		return r.platform.Bounds.allow(boundAnnotationBytes, size.bytes)
	}, into)
}

// decodeList reads a list in YAML, whose items are counted. The example is for the error.
func (r *reader) decodeList(text, example string, which bound, into any) error {
	err := decodeWithin([]byte(text), func(size measured) error {
		return cmp.Or(
			r.platform.Bounds.allow(boundAnnotationBytes, size.bytes),
			r.platform.Bounds.allow(which, size.items),
		)
	}, into)
	if err == nil || isOver(err) {
		return err
	}
	return fmt.Errorf("expected a YAML list such as %s: %w", example, err)
}

// isOver says whether an error is about a bound.
func isOver(err error) bool {
	var over *overBound
	return errors.As(err, &over)
}

// sizeMistakes measure what is counted without reading it: nothing is decoded of a pod that has any.
func (r *reader) sizeMistakes(pod *corev1.Pod) []Mistake {
	var mistakes []Mistake
	check := func(where string, which bound, found int) {
		if err := r.platform.Bounds.allow(which, found); err != nil {
			mistakes = append(mistakes, Mistake{Where: where, What: err.Error(), Over: true})
		}
	}
	bytes, largest := writtenBytes(r.written, pod)
	check(largest, boundAnnotationBytes, bytes)
	check("spec", boundContainers, len(pod.Spec.InitContainers)+len(pod.Spec.Containers))
	ports := 0
	for c := range ContainersOf(pod) {
		ports += len(c.Ports)
	}
	check("spec", boundPorts, ports)
	return mistakes
}

// writtenBytes are those of the labels and annotations that count for a pod, and where the largest of them is.
func writtenBytes(written map[string]value, pod *corev1.Pod) (total int, largest string) {
	most := -1
	add := func(where string, bytes int) {
		if total += bytes; bytes > most || bytes == most && where < largest {
			most, largest = bytes, where
		}
	}
	for key, v := range written {
		add(v.where(key, ""), len(key)+len(v.text))
	}
	for key, text := range pod.Labels {
		if strings.HasPrefix(key, Prefix) {
			add("label "+key, len(key)+len(text))
		}
	}
	return total, largest
}

// counts are what was read so far, of lists that are counted over a whole pod. What is beyond a bound is counted and
// not read.
type counts [boundCount]int

// count adds to a count, and says whether it is still within its bound.
func (r *reader) count(which bound, more int) bool {
	r.counts[which] += more
	return r.platform.Bounds.allow(which, r.counts[which]) == nil
}

// countMistakes tell which bounds the pod passes. It has been read, and nothing was made of it.
func (r *reader) countMistakes(pod *corev1.Pod) []Mistake {
	r.counts[boundListeners] = max(r.counts[boundListeners], len(r.inbound))
	if r.Mode.Gateway {
		r.counts[boundRoutes] = r.counts[boundListeners] * r.counts[boundUpstreams]
	}
	for _, l := range r.inbound {
		if l.defaultPeers {
			r.counts[boundCallers] += len(r.peers)
		}
	}
	if r.Mode.Envoy() {
		r.counts[boundEntries]++
	}
	if r.Mode.Files {
		r.counts[boundEntries]++
	}
	if r.Mode.Socket {
		r.counts[boundEntries] += len(pod.Spec.InitContainers) + len(pod.Spec.Containers)
	}
	var mistakes []Mistake
	for which, found := range r.counts {
		if err := r.platform.Bounds.allow(bound(which), found); err != nil {
			mistakes = append(mistakes, Mistake{Where: "annotations", What: err.Error(), Over: true})
		}
	}
	return mistakes
}
