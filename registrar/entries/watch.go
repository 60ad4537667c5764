package entries

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	kinds   []kind // of objects that need identities
	nodes   bool   // identities have rows for each node
	changed func(entryIDs ...string)
	gone    func(nodeUID string) // has the rows of a node removed
	// unknown is called with the reason why it is not known what the cluster needs; with nil when it is known.
	unknown func(why error)
	logger  logr.Logger

	// configuration is held while it is read and until unknown was called: the last call is about the last reading.
	configuration sync.Mutex
	// evaluation is held while an object is read and until the demand knows what it needs: the last one is of the object
	// as it was last.
	evaluation sync.Mutex
}

// start watches, and returns when every object was evaluated.
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
	if err := handle(&corev1.Namespace{}, w.namespaces(ctx)); err != nil {
		return err
	}
	if err := handle(&admissionregistrationv1.MutatingWebhookConfiguration{}, w.configurations(ctx)); err != nil {
		return err
	}
	if w.nodes {
		if err := handle(nodeMetadata(), w.nodeHandler()); err != nil {
			return err
		}
	}
	if !w.cache.WaitForCacheSync(ctx) {
		return context.Cause(ctx)
	}
	for _, k := range w.kinds {
		set := func(o any) {
			if served, err := w.rules.Served(ctx); err == nil { // otherwise there is a resync when it is known
				w.set(ctx, k, o, served)
			}
		}
		h := toolscache.ResourceEventHandlerFuncs{
			AddFunc: set,
			UpdateFunc: func(before, after any) {
				if !k.alike(before, after) {
					set(after)
				}
			},
			DeleteFunc: func(o any) { w.forget(k, o) },
		}
		if err := handle(k.new(), h); err != nil {
			return err
		}
	}
	for _, h := range handlers {
		if !toolscache.WaitForCacheSync(ctx.Done(), h.HasSynced) {
			return context.Cause(ctx)
		}
	}
	w.configuration.Lock()
	defer w.configuration.Unlock()
	_, err := w.rules.Served(ctx)
	w.unknown(err)
	return nil
}

// namespaces resyncs a namespace when something changes that what its objects need depends on.
func (w *watcher) namespaces(ctx context.Context) toolscache.ResourceEventHandler {
	resync := func(o any) {
		if o, ok := o.(client.Object); ok {
			_ = w.resync(ctx, o.GetName()) // an error is reported when the configuration changes, which is a resync too
		}
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, isInInitialList bool) {
			if !isInInitialList { // an object may be seen before its namespace is
				resync(o)
			}
		},
		UpdateFunc: func(before, after any) {
			if !namespaceAlike(before, after) {
				resync(after)
			}
		},
	}
}

// nodeMetadata is what is watched of nodes: their names and UIDs.
func nodeMetadata() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
}

// nodeHandler keeps the demand at which nodes there are. Rows of a node that is gone may have no owner any more, so that
// the demand does not know them.
func (w *watcher) nodeHandler() toolscache.ResourceEventHandler {
	set := func(o any) {
		if node, ok := o.(client.Object); ok {
			w.changed(w.demand.SetNode(node.GetName(), string(node.GetUID()))...)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: set,
		UpdateFunc: func(before, after any) {
			b, okB := before.(client.Object)
			a, okA := after.(client.Object)
			if okB && okA && b.GetUID() != a.GetUID() {
				set(after)
				w.gone(string(b.GetUID()))
			}
		},
		DeleteFunc: func(o any) {
			if node, ok := lastSeen(o).(client.Object); ok {
				w.changed(w.demand.SetNode(node.GetName(), "")...)
				w.gone(string(node.GetUID()))
			}
		},
	}
}

// configurations resyncs everything when it changes which namespaces are served.
func (w *watcher) configurations(ctx context.Context) toolscache.ResourceEventHandler {
	resync := func() {
		w.configuration.Lock()
		defer w.configuration.Unlock()
		w.unknown(w.resync(ctx, ""))
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(_ any, isInInitialList bool) {
			if !isInInitialList {
				resync()
			}
		},
		UpdateFunc: func(before, after any) {
			if !configurationAlike(before, after) {
				resync()
			}
		},
		DeleteFunc: func(any) { resync() },
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

// resync evaluates every object of a namespace again, of all for the empty one; error while it is not known which are
// served.
func (w *watcher) resync(ctx context.Context, namespace string) error {
	served, err := w.rules.Served(ctx)
	if err != nil {
		return err
	}
	for _, k := range w.kinds {
		list := k.list()
		if err := w.cache.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			w.logger.Error(err, "what "+k.name+"s need is not evaluated again")
			continue
		}
		err := meta.EachListItem(list, func(o runtime.Object) error {
			w.reset(ctx, k, o, served)
			return nil
		})
		if err != nil {
			w.logger.Error(err, "what "+k.name+"s need is not evaluated again")
		}
	}
	return nil
}

// reset evaluates what one object needs that may have changed, or gone, since it was listed.
func (w *watcher) reset(ctx context.Context, k kind, o runtime.Object, served func(namespaceLabels map[string]string) bool) {
	listed, ok := o.(client.Object)
	if !ok {
		return
	}
	w.evaluation.Lock()
	defer w.evaluation.Unlock()
	object := k.new()
	switch err := w.cache.Get(ctx, client.ObjectKeyFromObject(listed), object); {
	case apierrors.IsNotFound(err): // its own event comes, or was here
	case err != nil:
		w.logger.Error(err, "what the object needs is not evaluated again",
			"kind", k.name, "namespace", listed.GetNamespace(), "name", listed.GetName())
	default:
		w.evaluate(ctx, k, object, served)
	}
}

// set evaluates what one object needs.
func (w *watcher) set(ctx context.Context, k kind, o any, served func(namespaceLabels map[string]string) bool) {
	if object, ok := o.(client.Object); ok {
		w.evaluation.Lock()
		defer w.evaluation.Unlock()
		w.evaluate(ctx, k, object, served)
	}
}

func (w *watcher) evaluate(
	ctx context.Context, k kind, object client.Object, served func(namespaceLabels map[string]string) bool,
) {
	var ns corev1.Namespace
	if err := w.cache.Get(ctx, client.ObjectKey{Name: object.GetNamespace()}, &ns, client.UnsafeDisableDeepCopy); err != nil {
		// What is not known to be orphaned stays, and the namespace's own event comes.
		w.logger.Error(err, "what the object needs is not evaluated",
			"kind", k.name, "namespace", object.GetNamespace(), "name", object.GetName())
		return
	}
	var needs registrar.Needs
	if served(ns.Labels) {
		needs = k.needs(w.rules, &ns, object)
	}
	w.changed(w.demand.Set(owner(k, object), needs)...)
}

func (w *watcher) forget(k kind, o any) {
	if object, ok := lastSeen(o).(client.Object); ok {
		w.evaluation.Lock()
		defer w.evaluation.Unlock()
		w.changed(w.demand.Set(owner(k, object), registrar.Needs{})...)
	}
}

// lastSeen is an object that is gone as it was last seen, also where the watch has missed that it went.
func lastSeen(o any) any {
	if gone, missed := o.(toolscache.DeletedFinalStateUnknown); missed {
		return gone.Obj
	}
	return o
}

func owner(k kind, o client.Object) registrar.Owner {
	return registrar.Owner{Kind: k.name, Namespace: o.GetNamespace(), Name: o.GetName()}
}
