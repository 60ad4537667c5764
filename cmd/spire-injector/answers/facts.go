package answers

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Source is where facts come from.
type Source string

// The sources.
const (
	SourcePlatform   Source = "the platform file"
	SourceWebhooks   Source = "the webhooks' registration"
	SourceNamespaces Source = "namespaces"
	SourceWorkloads  Source = "workloads"
	SourcePods       Source = "pods"
	SourceServices   Source = "Services"
	SourceSlices     Source = "EndpointSlices"
)

// Facts are what is known of a cluster, or of what manifests would make of one.
type Facts struct {
	// Live says that they are of a cluster, where running pods count more than the templates that make the next ones.
	Live bool
	// Only names the namespace that alone was read; empty for all.
	Only string
	// At is when they were read.
	At time.Time
	// Platform is the platform file; nil where it is not known.
	Platform *intent.Platform
	// Kubernetes is the cluster's version, the zero value for a current one.
	Kubernetes inject.KubernetesVersion
	// Serves says of a namespace, by its labels, whether the webhook is asked about its pods. Nil where that is not known.
	Serves     func(namespaceLabels map[string]string) bool
	Namespaces map[string]intent.Namespace // by name
	Templates  []Template
	Pods       []Pod
	Services   []corev1.Service
	Slices     []discoveryv1.EndpointSlice
	// Agents are SPIRE's on the nodes, by the node's name.
	Agents map[string]Agent
	// SPIRE is what its server says of registration entries; nil if it was not asked.
	SPIRE *Registered
	// Told is what Envoys said of themselves, by namespace/name of their pod.
	Told map[string]Told
	// Unread is what could not be read, with the reason.
	Unread map[Source]error

	ending map[string]bool // namespaces that are being deleted
}

// Lasting are the facts without namespaces that are being deleted: what is left in them for the moment fits nothing.
func (f Facts) Lasting() Facts {
	f.Pods = slices.DeleteFunc(slices.Clone(f.Pods), func(p Pod) bool { return f.ending[p.Namespace] })
	f.Templates = slices.DeleteFunc(slices.Clone(f.Templates), func(t Template) bool { return f.ending[t.Namespace] })
	f.Services = slices.DeleteFunc(slices.Clone(f.Services), func(s corev1.Service) bool { return f.ending[s.Namespace] })
	f.Namespaces = maps.Clone(f.Namespaces)
	maps.DeleteFunc(f.Namespaces, func(name string, _ intent.Namespace) bool { return f.ending[name] })
	return f
}

// Object names a Kubernetes object.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (o Object) String() string { return o.Kind + " " + o.Short() }

// Short is without the kind.
func (o Object) Short() string { return o.Namespace + "/" + o.Name }

func (o Object) compare(other Object) int {
	return cmp.Or(
		strings.Compare(o.Namespace, other.Namespace),
		strings.Compare(o.Name, other.Name),
		strings.Compare(o.Kind, other.Kind),
	)
}

// Template is what new pods of a workload are made of.
type Template struct {
	Object
	// Controller made the object, as a CronJob its Jobs; zero for none.
	Controller Object
	// Labels and Annotations are the object's own, of which its pods have nothing.
	Labels, Annotations map[string]string
	Wanted              int32       // pods; of a manifest, and of what runs now and then, 0
	Pod                 *corev1.Pod // labels, annotations and spec, in the workload's namespace
	Where               string      // in manifests
}

// Pod is a pod without what no answer looks at.
type Pod struct {
	*corev1.Pod
	// Config distinguishes states of its Envoy's configuration; empty without Envoy.
	Config string
	// Compared says that it was compared with what injection writes, and Altered what of it is something else.
	Compared bool
	Altered  string

	kind    [sha256.Size]byte // of those that are injected alike
	written int               // bytes of annotations that injection wrote: most of all Envoy's configuration
}

// namespace is what of a namespace decides about its pods. One that is not known has nothing.
func (f Facts) namespace(name string) intent.Namespace {
	if ns, ok := f.Namespaces[name]; ok {
		return ns
	}
	return intent.Namespace{Name: name}
}

// Gaps are sentences on what could not be read, in the order of the sources.
func (f Facts) Gaps() []string {
	means := []struct {
		source Source
		open   string
	}{
		{SourcePlatform, "peers, upstreams, and who would be denied, are not known; name a copy of it with --config"},
		{SourceWebhooks, "whether a namespace is excluded is not known"},
		{SourceNamespaces, "their labels and annotations are taken for none"},
		{SourceWorkloads, "what has no pods yet is not listed"},
		{SourcePods, "what runs is not known"},
		{SourceServices, "where addresses lead is not known"},
		{SourceSlices, "which endpoints are ready is not known"},
	}
	var gaps []string
	for _, m := range means {
		if err := f.Unread[m.source]; err != nil {
			gaps = append(gaps, fmt.Sprintf("%s could not be read: %s: %s", m.source, oneLine(err), m.open))
		}
	}
	if f.Only != "" {
		gaps = append(gaps, "only namespace "+f.Only+" was read: pods and Services elsewhere are not known")
	}
	return gaps
}

// oneLine is an error in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Usable says why nothing can be answered of a cluster, about a namespace or about all for the empty one: no pods could
// be read, or there is no such namespace.
func (f Facts) Usable(namespace string) error {
	_, known := f.Namespaces[namespace]
	unread := f.Unread[SourceNamespaces]
	if namespace != "" && !known && (unread == nil || apierrors.IsNotFound(unread)) {
		near := ""
		if n := intent.Nearest(namespace, slices.Sorted(maps.Keys(f.Namespaces))...); n != "" {
			near = fmt.Sprintf("; did you mean %q?", n)
		}
		return fmt.Errorf("there is no namespace %s%s", namespace, near)
	}
	if err := f.Unread[SourcePods]; err != nil {
		return fmt.Errorf("reading pods: %s; ask as somebody who may list them, or about a namespace of yours with --namespace",
			oneLine(err))
	}
	return nil
}
