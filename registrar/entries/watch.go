package entries

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
)

// watcher keeps a demand at what the objects of a cluster need.
type watcher struct {
	cache   cache.Cache
	rules   Rules
	demand  *registrar.Demand
	changed func(entryIDs ...string)
	// unknown is told why nobody knows what the cluster needs; nil when it is known.
	unknown func(why error)
	failed  func(err error, message string)

	// asking is held from the look at the configuration until unknown is told of it: the last word is of the last look.
	asking sync.Mutex
}

// start watches, and returns when every object was looked at.
func (w *watcher) start(ctx context.Context) error {
	var handlers []toolscache.ResourceEventHandlerRegistration
	handle := func(o client.Object, h toolscache.ResourceEventHandler) error {
		informer, err := w.cache.GetInformer(ctx, o)
		if err != nil {
			return fmt.Errorf("watching %T: %w", o, err)
		}
		registration, err := informer.AddEventHandler(h)
		handlers = append(handlers, registration)
		return err
	}
	// Namespaces come first: what an object needs depends on its namespace.
	if err := handle(&corev1.Namespace{}, w.reconsider(ctx)); err != nil {
		return err
	}
	if err := handle(&admissionregistrationv1.MutatingWebhookConfiguration{}, w.reconfigure(ctx)); err != nil {
		return err
	}
	if !w.cache.WaitForCacheSync(ctx) {
		return context.Cause(ctx)
	}
	for _, k := range kinds {
		set := func(o any) {
			if serves, err := w.rules.Served(ctx); err == nil { // otherwise all are looked at when it is known
				w.set(ctx, k, o, serves)
			}
		}
		h := toolscache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, after any) { set(after) }, DeleteFunc: func(o any) { w.forget(k, o) }}
		if err := handle(k.new(), h); err != nil {
			return err
		}
	}
	for _, h := range handlers {
		if !toolscache.WaitForCacheSync(ctx.Done(), h.HasSynced) {
			return context.Cause(ctx)
		}
	}
	w.asking.Lock()
	defer w.asking.Unlock()
	_, err := w.rules.Served(ctx)
	w.unknown(err)
	return nil
}

// reconsider looks at all objects of a namespace when something changes that they depend on.
func (w *watcher) reconsider(ctx context.Context) toolscache.ResourceEventHandler {
	look := func(o any) {
		if o, ok := o.(client.Object); ok {
			_ = w.all(ctx, o.GetName()) // if it is not known which are ours, all are looked at when it is
		}
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, isInInitialList bool) {
			if !isInInitialList { // an object may be seen before its namespace is
				look(o)
			}
		},
		UpdateFunc: func(before, after any) {
			if !namespaceAlike(before, after) {
				look(after)
			}
		},
	}
}

// reconfigure looks at all objects when it changes which namespaces are ours.
func (w *watcher) reconfigure(ctx context.Context) toolscache.ResourceEventHandler {
	look := func() {
		w.asking.Lock()
		defer w.asking.Unlock()
		w.unknown(w.all(ctx, ""))
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(_ any, isInInitialList bool) {
			if !isInInitialList {
				look()
			}
		},
		UpdateFunc: func(before, after any) {
			if !configurationAlike(before, after) {
				look()
			}
		},
		DeleteFunc: func(any) { look() },
	}
}

func namespaceAlike(before, after any) bool {
	b, okB := before.(*corev1.Namespace)
	a, okA := after.(*corev1.Namespace)
	return okA && okB && reflect.DeepEqual(b.Labels, a.Labels) && reflect.DeepEqual(b.Annotations, a.Annotations)
}

func configurationAlike(before, after any) bool {
	b, okB := before.(*admissionregistrationv1.MutatingWebhookConfiguration)
	a, okA := after.(*admissionregistrationv1.MutatingWebhookConfiguration)
	return okA && okB && b.Generation == a.Generation
}

// all looks at all objects of a namespace, of all for the empty one; at none, with the reason, while it is not known which are ours.
func (w *watcher) all(ctx context.Context, namespace string) error {
	serves, err := w.rules.Served(ctx)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		list := k.list()
		if err := w.cache.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			w.failed(err, "what "+k.name+"s need is not looked at again")
			continue
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error { w.set(ctx, k, o, serves); return nil }); err != nil {
			w.failed(err, "what "+k.name+"s need is not looked at again")
		}
	}
	return nil
}

// set looks at what one object needs; serves is which namespaces are ours.
func (w *watcher) set(ctx context.Context, k kind, o any, serves func(namespaceLabels map[string]string) bool) {
	object, ok := o.(client.Object)
	if !ok {
		return
	}
	var ns corev1.Namespace
	if err := w.cache.Get(ctx, client.ObjectKey{Name: object.GetNamespace()}, &ns); err != nil {
		// What is not known to be unneeded stays, and the namespace's own event comes.
		w.failed(err, fmt.Sprintf("what %s %s/%s needs is not looked at", k.name, object.GetNamespace(), object.GetName()))
		return
	}
	var needs registrar.Needs
	if serves(ns.Labels) {
		needs = k.needs(w.rules, &ns, object)
	}
	w.changed(w.demand.Set(owner(k, object), needs)...)
}

func (w *watcher) forget(k kind, o any) {
	if gone, missed := o.(toolscache.DeletedFinalStateUnknown); missed {
		o = gone.Obj
	}
	if object, ok := o.(client.Object); ok {
		w.changed(w.demand.Set(owner(k, object), registrar.Needs{})...)
	}
}

func owner(k kind, o client.Object) registrar.Owner {
	return registrar.Owner{Kind: k.name, Namespace: o.GetNamespace(), Name: o.GetName()}
}
