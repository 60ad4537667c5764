package answers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
)

// API are the parts of the Kubernetes API that are read. Any [k8s.io/client-go/kubernetes.Interface] has them.
type API interface {
	CoreV1() coreclient.CoreV1Interface
	AppsV1() appsclient.AppsV1Interface
	BatchV1() batchclient.BatchV1Interface
	DiscoveryV1() discoveryclient.DiscoveryV1Interface
}

type client struct {
	core      coreclient.CoreV1Interface
	apps      appsclient.AppsV1Interface
	batch     batchclient.BatchV1Interface
	discovery discoveryclient.DiscoveryV1Interface
}

// Connect makes an API. It calls nobody yet.
func Connect(config *rest.Config) (API, error) {
	var c client
	var errs [4]error
	c.core, errs[0] = coreclient.NewForConfig(config)
	c.apps, errs[1] = appsclient.NewForConfig(config)
	c.batch, errs[2] = batchclient.NewForConfig(config)
	c.discovery, errs[3] = discoveryclient.NewForConfig(config)
	return c, errors.Join(errs[:]...)
}

func (c client) CoreV1() coreclient.CoreV1Interface                { return c.core }
func (c client) AppsV1() appsclient.AppsV1Interface                { return c.apps }
func (c client) BatchV1() batchclient.BatchV1Interface             { return c.batch }
func (c client) DiscoveryV1() discoveryclient.DiscoveryV1Interface { return c.discovery }

// Gatherer reads facts of a cluster.
type Gatherer struct {
	Client API
	// Namespace is the one that is read if all cannot be, for lack of rights; empty for none.
	Namespace string
	// Only has no other namespace read.
	Only bool
	// Version is that of the injector whose pods are compared with what it writes; empty for none.
	Version string
}

// page is how many objects are read at a time.
const page = 250

// Gather adds to facts what a cluster has: the sources beside one another, each by pages. What cannot be read is in
// [Facts.Unread].
func (g Gatherer) Gather(ctx context.Context, f *Facts) {
	f.Live = true
	f.At = time.Now()
	if f.Unread == nil {
		f.Unread = map[Source]error{}
	}
	namespace := metav1.NamespaceAll
	if g.Only {
		namespace = g.Namespace
	}
	g.read(ctx, f, namespace)
	if namespace != "" || g.Namespace == "" || !apierrors.IsForbidden(f.Unread[SourcePods]) {
		return
	}
	only := Facts{
		Live:       true,
		Only:       g.Namespace,
		Platform:   f.Platform,
		Kubernetes: f.Kubernetes,
		Serves:     f.Serves,
		Unread:     map[Source]error{},
	}
	for _, source := range []Source{SourcePlatform, SourceWebhooks} {
		if err := f.Unread[source]; err != nil {
			only.Unread[source] = err
		}
	}
	g.read(ctx, &only, g.Namespace)
	only.At = f.At
	*f = only
}

// read reads all sources, each into what it alone writes.
func (g Gatherer) read(ctx context.Context, f *Facts, namespace string) {
	var wait sync.WaitGroup
	var mutex sync.Mutex // of Unread and Templates
	whole := podKinds{}
	for _, step := range []struct {
		source Source
		read   func() error
	}{
		{SourceNamespaces, func() error { return g.namespaces(ctx, f, namespace) }},
		{SourcePods, func() error { return g.pods(ctx, f, whole, namespace) }},
		{SourceServices, func() error { return g.services(ctx, f, namespace) }},
		{SourceSlices, func() error { return g.slices(ctx, f, namespace) }},
		{SourceWorkloads, func() error { return g.workloads(ctx, f, &mutex, namespace) }},
		{SourceWorkloads, func() error { return g.jobs(ctx, f, &mutex, namespace) }},
	} {
		wait.Go(func() {
			if err := step.read(); err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				f.Unread[step.source] = errors.Join(f.Unread[step.source], err)
			}
		})
	}
	wait.Wait()
	f.compare(g.Version, whole)
}

func (g Gatherer) namespaces(ctx context.Context, f *Facts, namespace string) error {
	if namespace == "" {
		return each(ctx, g.Client.CoreV1().Namespaces().List, f.addNamespace)
	}
	ns, err := g.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err == nil {
		f.addNamespace(ns)
	}
	return err
}

func (g Gatherer) pods(ctx context.Context, f *Facts, whole podKinds, namespace string) error {
	return each(ctx, g.Client.CoreV1().Pods(namespace).List, func(pod *corev1.Pod) {
		f.addAgent(pod)
		small := NewPod(pod)
		if g.Version != "" {
			small.kind = kindOf(pod)
			whole.add(small.kind, pod)
		}
		f.Pods = append(f.Pods, small)
	})
}

func (g Gatherer) services(ctx context.Context, f *Facts, namespace string) error {
	return each(ctx, g.Client.CoreV1().Services(namespace).List, func(s *corev1.Service) {
		f.Services = append(f.Services, trimService(s))
	})
}

func (g Gatherer) slices(ctx context.Context, f *Facts, namespace string) error {
	return each(ctx, g.Client.DiscoveryV1().EndpointSlices(namespace).List, func(s *discoveryv1.EndpointSlice) {
		f.Slices = append(f.Slices, discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels},
			Endpoints:  s.Endpoints,
			Ports:      s.Ports,
		})
	})
}

func (g Gatherer) workloads(ctx context.Context, f *Facts, mutex *sync.Mutex, namespace string) error {
	apps := g.Client.AppsV1()
	add := f.adder(mutex)
	return errors.Join(
		each(ctx, apps.Deployments(namespace).List, func(d *appsv1.Deployment) {
			add("Deployment", d.ObjectMeta, d.Spec.Template, orOne(d.Spec.Replicas))
		}),
		each(ctx, apps.StatefulSets(namespace).List, func(s *appsv1.StatefulSet) {
			add("StatefulSet", s.ObjectMeta, s.Spec.Template, orOne(s.Spec.Replicas))
		}),
		each(ctx, apps.DaemonSets(namespace).List, func(d *appsv1.DaemonSet) {
			add("DaemonSet", d.ObjectMeta, d.Spec.Template, d.Status.DesiredNumberScheduled)
		}),
	)
}

func (g Gatherer) jobs(ctx context.Context, f *Facts, mutex *sync.Mutex, namespace string) error {
	batch := g.Client.BatchV1()
	add := f.adder(mutex)
	return errors.Join(
		each(ctx, batch.Jobs(namespace).List, func(j *batchv1.Job) { add("Job", j.ObjectMeta, j.Spec.Template, 0) }),
		each(ctx, batch.CronJobs(namespace).List, func(c *batchv1.CronJob) {
			add("CronJob", c.ObjectMeta, c.Spec.JobTemplate.Spec.Template, 0)
		}),
	)
}

// adder adds templates. Only what names and makes their pods is kept.
func (f *Facts) adder(mutex *sync.Mutex) func(string, metav1.ObjectMeta, corev1.PodTemplateSpec, int32) {
	return func(kind string, m metav1.ObjectMeta, t corev1.PodTemplateSpec, wanted int32) {
		pod := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
		pod.Namespace = m.Namespace
		template := Template{
			Object:      Object{Kind: kind, Namespace: m.Namespace, Name: m.Name},
			Labels:      m.Labels,
			Annotations: m.Annotations,
			Wanted:      wanted,
			Pod:         pod,
		}
		if owner := metav1.GetControllerOfNoCopy(&m); owner != nil {
			template.Controller = Object{Kind: owner.Kind, Namespace: m.Namespace, Name: owner.Name}
		}
		mutex.Lock()
		defer mutex.Unlock()
		f.Templates = append(f.Templates, template)
	}
}

func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// each reads a list in pages, and calls do with each of its items.
func each[L runtime.Object, T runtime.Object](
	ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), do func(T),
) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) })
	pages.PageSize = page
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		item, ok := object.(T)
		if !ok {
			return fmt.Errorf("expected %T in a list, got %T", item, object)
		}
		do(item)
		return nil
	})
}
