package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

// Gatherer reads facts.
type Gatherer struct {
	Client API
	Names  Names
	// Settings reads the flags of the injector, from the arguments of its container.
	Settings func(arguments []string) (Settings, error)
	// Hash is what replicas export that work by a platform file.
	Hash func(file []byte) float64
	Now  func() time.Time
}

// page is how many objects are read at a time.
const page = 200

// Gather reads what there is. What cannot be read is in [Facts.Unread], with the reason; without the version nothing
// else is read.
func (g Gatherer) Gather(ctx context.Context) Facts {
	f := Facts{Names: g.Names, Unread: map[Source]error{}, Policies: map[string][]string{}, Warning: map[string][]string{}}
	for _, step := range []struct {
		source Source
		read   func(context.Context, *Facts) error
	}{
		{SourceVersion, g.version},
		{SourceNamespaces, g.namespaces},
		{SourceNodes, g.nodes},
		{SourceWorkloads, g.workloads},
		{SourceInjector, g.injector},
		{SourcePods, g.pods},
		{SourceRequired, g.required},
		{SourceLease, g.lease},
		{SourceWebhooks, g.webhooks},
		{SourcePolicies, g.policies},
		{SourceDrivers, g.drivers},
		{SourcePlatform, g.platform},
		{SourceService, g.service},
		{SourceDNS, g.dns},
		{SourceTrial, g.trial},
	} {
		if err := step.read(ctx, &f); err != nil {
			f.Unread[step.source] = err
			if step.source == SourceVersion {
				break // whoever does not say that says nothing
			}
		}
	}
	f.At = g.Now() // after the reading: nothing that was read is of later
	return f
}

// Installation reads what of an injector decides on pods: its Deployment, the platform file and the registration of its
// webhooks. What cannot be read is in [Facts.Unread].
func (g Gatherer) Installation(ctx context.Context) Facts {
	f := Facts{Names: g.Names, Unread: map[Source]error{}}
	for _, step := range []struct {
		source Source
		read   func(context.Context, *Facts) error
	}{
		{SourceInjector, g.deployment},
		{SourceWebhooks, g.webhooks},
		{SourcePlatform, g.platform},
	} {
		if err := step.read(ctx, &f); err != nil {
			f.Unread[step.source] = err
		}
	}
	return f
}

func (g Gatherer) version(ctx context.Context, f *Facts) error {
	info, err := g.Client.Discovery().ServerVersionWithContext(ctx)
	if err != nil {
		return err
	}
	f.Kubernetes = info.GitVersion
	return nil
}

func (g Gatherer) namespaces(ctx context.Context, f *Facts) error {
	return each(ctx, metav1.ListOptions{}, g.Client.CoreV1().Namespaces().List, func(ns *corev1.Namespace) {
		f.Namespaces = append(f.Namespaces, *ns)
	})
}

func (g Gatherer) nodes(ctx context.Context, f *Facts) error {
	return each(ctx, metav1.ListOptions{}, g.Client.CoreV1().Nodes().List, func(node *corev1.Node) {
		f.Nodes = append(f.Nodes, *node)
	})
}

func (g Gatherer) injector(ctx context.Context, f *Facts) error {
	if err := g.deployment(ctx, f); err != nil || f.Injector == nil {
		return err
	}
	return g.replicas(ctx, f)
}

// deployment reads the injector's, and the flags in it.
func (g Gatherer) deployment(ctx context.Context, f *Facts) error {
	d, err := g.Client.AppsV1().Deployments(g.Names.Namespace).Get(ctx, Deployment, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	container, ok := containerOf(d.Spec.Template.Spec)
	if !ok {
		return fmt.Errorf("expected a container %s in Deployment %s/%s", Deployment, d.Namespace, d.Name)
	}
	if f.Settings, err = g.Settings(expanded(container, d.Namespace)); err != nil {
		return fmt.Errorf("arguments of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	f.Injector = d
	return nil
}

// replicas asks each pod of the injector what it knows.
func (g Gatherer) replicas(ctx context.Context, f *Facts) error {
	selector, err := metav1.LabelSelectorAsSelector(f.Injector.Spec.Selector)
	if err != nil {
		return err
	}
	pods, err := g.Client.CoreV1().Pods(g.Names.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			f.Replicas = append(f.Replicas, g.replica(ctx, pod, f.Settings))
		}
	}
	return nil
}

// containerOf is the injector's among what a pod runs.
func containerOf(spec corev1.PodSpec) (corev1.Container, bool) {
	for _, c := range spec.Containers {
		if c.Name == Deployment || len(spec.Containers) == 1 {
			return c, true
		}
	}
	return corev1.Container{}, false
}

// expanded are a container's arguments with what Kubernetes puts in for $(NAME), as far as it is known.
func expanded(c corev1.Container, namespace string) []string {
	var pairs []string
	for _, v := range c.Env {
		value := v.Value
		if v.ValueFrom != nil {
			if field := v.ValueFrom.FieldRef; field == nil || field.FieldPath != "metadata.namespace" {
				continue
			}
			value = namespace
		}
		pairs = append(pairs, "$("+v.Name+")", value)
	}
	replacer := strings.NewReplacer(pairs...)
	out := make([]string, len(c.Args))
	for i, arg := range c.Args {
		out[i] = replacer.Replace(arg)
	}
	return out
}

// answerTime bounds the wait for one replica, which may hang.
const answerTime = 5 * time.Second

func (g Gatherer) replica(ctx context.Context, pod corev1.Pod, s Settings) Replica {
	r := Replica{Name: pod.Name, Ready: isReady(pod), Addresses: addressesOf(pod)}
	if !r.Ready && pod.Status.Phase == corev1.PodRunning && s.HealthPort != "" {
		if text, err := g.ask(ctx, pod, s.HealthPort, "/readyz", map[string]string{"verbose": ""}); err == nil || text != "" {
			r.Unready = lacking(text)
		}
	}
	if s.MetricsPort == "" || s.MetricsSecure {
		return r
	}
	text, err := g.ask(ctx, pod, s.MetricsPort, "/metrics", nil)
	if err == nil {
		r.Metrics, err = ParseMetrics(text)
	}
	r.Err = err
	return r
}

// ask reads a page of a pod through the API server, also one that comes with an error.
func (g Gatherer) ask(ctx context.Context, pod corev1.Pod, port, page string, query map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	text, err := g.Client.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, port, page, query).DoRaw(ctx)
	return string(text), err
}

// lacking are the names of the checks that fail in what /readyz?verbose says.
func lacking(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ = strings.Cut(name, " ")
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func isReady(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (g Gatherer) lease(ctx context.Context, f *Facts) error {
	if f.Injector == nil {
		return nil
	}
	lease, err := g.Client.CoordinationV1().Leases(g.Names.Namespace).Get(ctx, f.Settings.Lease, metav1.GetOptions{})
	if err == nil {
		f.Lease = lease
	}
	return unlessAbsent(err)
}

func (g Gatherer) webhooks(ctx context.Context, f *Facts) error {
	if f.Injector == nil {
		return nil
	}
	registered := g.Client.AdmissionregistrationV1()
	mutating, err := registered.MutatingWebhookConfigurations().Get(ctx, f.Settings.Webhooks, metav1.GetOptions{})
	if err == nil {
		f.Mutating = mutating
	}
	if unlessAbsent(err) != nil {
		return err
	}
	validating, err := registered.ValidatingWebhookConfigurations().Get(ctx, f.Settings.Webhooks, metav1.GetOptions{})
	if err == nil {
		f.Validating = validating
	}
	return unlessAbsent(err)
}

func (g Gatherer) policies(ctx context.Context, f *Facts) error {
	list, err := g.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		return unlessAbsent(err) // before Kubernetes 1.30
	}
	bindings, err := g.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range list.Items {
		f.Policies[p.Name] = nil
	}
	for _, b := range bindings.Items {
		denying, there := f.Policies[b.Spec.PolicyName]
		switch {
		case !there:
		case slices.Contains(b.Spec.ValidationActions, admissionregistrationv1.Deny):
			f.Policies[b.Spec.PolicyName] = append(denying, b.Name)
		case slices.Contains(b.Spec.ValidationActions, admissionregistrationv1.Warn):
			f.Warning[b.Spec.PolicyName] = append(f.Warning[b.Spec.PolicyName], b.Name)
		}
	}
	return nil
}

func (g Gatherer) drivers(ctx context.Context, f *Facts) error {
	list, err := g.Client.StorageV1().CSIDrivers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range list.Items {
		f.CSIDrivers = append(f.CSIDrivers, d.Name)
	}
	return nil
}

func (g Gatherer) platform(ctx context.Context, f *Facts) error {
	if f.Injector == nil {
		return nil
	}
	spec := f.Injector.Spec.Template.Spec
	container, _ := containerOf(spec)
	file, err := g.file(ctx, g.Names.Namespace, spec, container.Name, f.Settings.Config)
	if err != nil {
		return err
	}
	f.Platform = file
	if file.Where == "" {
		f.Platform.Where = "Deployment " + g.Names.Namespace + "/" + Deployment
	}
	f.PlatformHash = g.Hash([]byte(file.Text))
	return nil
}

// service reads the Service in the SPIRE server's address, if it has one.
func (g Gatherer) service(ctx context.Context, f *Facts) error {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	at, ok := f.serviceAt(serverHost(p), g.Names.Namespace)
	if !ok {
		return nil
	}
	service, err := g.Client.CoreV1().Services(at.namespace).Get(ctx, at.name, metav1.GetOptions{})
	if err == nil {
		f.Service = service
	}
	return unlessAbsent(err)
}

// file reads a file of a container from its ConfigMap. The error is one of reading; that the file is in none is in
// the [File].
func (g Gatherer) file(
	ctx context.Context, namespace string, spec corev1.PodSpec, container, path string,
) (File, error) {
	name, key, ok := configMapOf(spec, container, path)
	if !ok {
		return File{Err: fmt.Errorf("the file %q is not from a ConfigMap", path), Elsewhere: true}, nil
	}
	where := fmt.Sprintf("ConfigMap %s/%s, %s", namespace, name, key)
	configMap, err := g.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return File{Where: where, Err: err}, nil
	}
	if err != nil {
		return File{}, err
	}
	text, ok := configMap.Data[key]
	if !ok {
		return File{Where: where, Err: fmt.Errorf("the ConfigMap has no %s", key)}, nil
	}
	return File{Where: where, Text: text}, nil
}

// unlessAbsent forgives that something is not there, or that its kind is not.
func unlessAbsent(err error) error {
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// each reads a list in pages, and calls do with each of its items.
func each[L runtime.Object, T runtime.Object](
	ctx context.Context, o metav1.ListOptions, list func(context.Context, metav1.ListOptions) (L, error), do func(T),
) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) })
	pages.PageSize = page
	return pages.EachListItem(ctx, o, func(object runtime.Object) error {
		item, ok := object.(T)
		if !ok {
			return fmt.Errorf("expected %T in a list, got %T", item, object)
		}
		do(item)
		return nil
	})
}
