package networkpolicies

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// debounce is how long a change waits: pods come several at a time, and take longer than this to start.
	debounce = 100 * time.Millisecond
	// minRetry and maxRetry bound the time between two tries of a namespace.
	minRetry, maxRetry = time.Second, time.Minute
)

// syncer keeps the policies of namespaces for as long as the platform asks for them.
type syncer struct {
	Controller
	policies cache.Cache
	queue    workqueue.TypedRateLimitingInterface[string] // namespaces
	told     map[string]map[string]string                 // by namespace, why identities are left out
}

func newSyncer(config Config) *syncer {
	return &syncer{
		Controller: Controller{config: config},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](minRetry, maxRetry),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: "networkpolicies"}),
		told: map[string]map[string]string{},
	}
}

// all has every namespace with pods compared.
func (s *syncer) all() {
	var pods corev1.PodList
	if err := s.config.Cache.List(context.Background(), &pods, client.UnsafeDisableDeepCopy); err != nil {
		s.config.Logger.Error(err, "listing pods")
	}
	for i := range pods.Items {
		s.queue.AddAfter(pods.Items[i].Namespace, debounce)
	}
}

// run works until ctx is done. The error is why it cannot begin.
func (s *syncer) run(ctx context.Context) error {
	if _, err := s.list(ctx); err != nil { // a watch without rights would wait for them and say nothing
		return err
	}
	var err error
	if s.policies, err = s.config.Policies(); err != nil {
		return fmt.Errorf("setting up a cache of NetworkPolicies: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		if err := s.policies.Start(ctx); err != nil {
			s.config.Logger.Error(err, "watching NetworkPolicies")
		}
	}()
	stop, err := s.watch(ctx)
	defer stop()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.queue.ShutDown)()
	for {
		namespace, shutdown := s.queue.Get()
		if shutdown {
			return nil
		}
		s.try(ctx, namespace)
		s.queue.Done(namespace)
	}
}

// watch has namespaces compared when something changes that their policies follow from. It returns when all is known.
// The handlers work until stop is called.
func (s *syncer) watch(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, each := range stops {
			each()
		}
	}
	var synced []toolscache.InformerSynced
	add := func(from cache.Cache, kind client.Object, handler toolscache.ResourceEventHandler) error {
		informer, err := from.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watching %T: %w", kind, err)
		}
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("watching %T: %w", kind, err)
		}
		synced = append(synced, registration.HasSynced)
		stops = append(stops, func() { _ = informer.RemoveEventHandler(registration) }) // which is of no use any more
		return nil
	}
	err = errors.Join(
		add(s.config.Cache, &corev1.Namespace{}, s.onUpdate(namespaceAlike, func(o client.Object) { s.soon(o.GetName()) })),
		add(s.config.Cache, &admissionregistrationv1.MutatingWebhookConfiguration{},
			s.onUpdate(configurationAlike, func(client.Object) { s.all() })),
		add(s.config.Cache, &corev1.Pod{}, s.onChange(alike)),
		add(s.policies, &networkingv1.NetworkPolicy{}, s.onChange(func(_, _ any) bool { return false })),
	)
	if err != nil {
		return stop, err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
		return stop, context.Cause(ctx)
	}
	return stop, nil
}

func (s *syncer) soon(namespace string) { s.queue.AddAfter(namespace, debounce) }

// onChange compares the namespace of each object that comes, goes, or is not alike any more.
func (s *syncer) onChange(alike func(before, after any) bool) toolscache.ResourceEventHandler {
	do := func(o any) {
		if late, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = late.Obj
		}
		if object, ok := o.(client.Object); ok {
			s.soon(object.GetNamespace())
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: do,
		UpdateFunc: func(before, after any) {
			if !alike(before, after) {
				do(after)
			}
		},
		DeleteFunc: do,
	}
}

// onUpdate calls do with objects that come after the first list, or are not alike any more.
func (s *syncer) onUpdate(alike func(before, after any) bool, do func(client.Object)) toolscache.ResourceEventHandler {
	call := func(o any) {
		if object, ok := o.(client.Object); ok {
			do(object)
		}
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, isInInitialList bool) {
			if !isInInitialList {
				call(o)
			}
		},
		UpdateFunc: func(before, after any) {
			if !alike(before, after) {
				call(after)
			}
		},
	}
}

func namespaceAlike(before, after any) bool {
	b, okB := before.(*corev1.Namespace)
	a, okA := after.(*corev1.Namespace)
	return okA && okB && reflect.DeepEqual(b.Labels, a.Labels) &&
		b.Annotations[intent.AnnotationPlainPorts] == a.Annotations[intent.AnnotationPlainPorts]
}

func configurationAlike(before, after any) bool {
	b, okB := before.(*admissionregistrationv1.MutatingWebhookConfiguration)
	a, okA := after.(*admissionregistrationv1.MutatingWebhookConfiguration)
	return okA && okB && b.Generation == a.Generation
}

// try makes the policies of a namespace what they should be, and tries again later if that fails.
func (s *syncer) try(ctx context.Context, namespace string) {
	err := s.sync(ctx, namespace)
	switch {
	case err == nil || ctx.Err() != nil:
		s.queue.Forget(namespace)
		return
	case !apierrors.IsConflict(err): // which is a change that the watch has not brought yet
		s.config.Logger.Error(err, "NetworkPolicies are not what they should be", "namespace", namespace,
			"reason", reason.NetworkPoliciesNotKept)
		if !errors.Is(err, errInTheWay) { // which is told about the policy
			s.config.Event(nil, reason.NetworkPoliciesNotKept, err.Error())
		}
	}
	s.queue.AddRateLimited(namespace)
}

// sync makes the policies of a namespace what they should be.
func (s *syncer) sync(ctx context.Context, namespace string) error {
	desired, left, err := s.desired(ctx, namespace)
	if err != nil {
		return err
	}
	var list networkingv1.NetworkPolicyList
	if err := s.policies.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing the injector's NetworkPolicies: %w", err)
	}
	var existing []*networkingv1.NetworkPolicy
	for i := range list.Items {
		existing = append(existing, &list.Items[i])
	}
	steps := Plan(s.config.Injector, namespace, desired, existing)
	var errs []error
	for _, policy := range steps.Create { // what opens a port comes before what is closed
		errs = append(errs, s.create(ctx, policy))
	}
	for _, policy := range steps.Update {
		if err := s.config.Writer.Update(ctx, policy); err != nil {
			errs = append(errs, failed("changing", policy, err))
		}
	}
	for _, policy := range steps.Delete {
		errs = append(errs, s.delete(ctx, policy))
	}
	err = errors.Join(errs...)
	s.config.Metrics.set(namespace, len(desired), len(left), countErrors(errs))
	return err
}

func countErrors(errs []error) int {
	n := 0
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	return n
}

// desired are the policies that a namespace should have: none where others inject, or nobody.
func (s *syncer) desired(ctx context.Context, namespace string) ([]Policy, []Left, error) {
	served, err := s.config.Served(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reading which namespaces are ours: %w", err)
	}
	var ns corev1.Namespace
	if err := s.config.Cache.Get(ctx, client.ObjectKey{Name: namespace}, &ns, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, client.IgnoreNotFound(err) // all that is in it goes with it
	}
	if !served(ns.Labels) || ns.DeletionTimestamp != nil {
		return nil, nil, nil
	}
	var list corev1.PodList
	if err := s.config.Cache.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("listing injected pods: %w", err)
	}
	platform := s.config.Platform()
	of := intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	var pods []Pod
	for i := range list.Items {
		if pod, counts := PodOf(platform, of, &list.Items[i]); counts {
			pods = append(pods, pod)
		}
	}
	desired, left := Desired(pods)
	s.tell(namespace, list.Items, left)
	return desired, left, nil
}

// tell reports identities that are left out, once for each reason.
func (s *syncer) tell(namespace string, pods []corev1.Pod, left []Left) {
	before := s.told[namespace]
	now := map[string]string{}
	for _, l := range left {
		now[l.Identity] = l.Why
		if before[l.Identity] == l.Why {
			continue
		}
		s.config.Event(oneOf(pods, l.Identity).DeepCopy(), reason.NetworkPolicyLeftOut,
			"no NetworkPolicy closes the ports of this pod that are not Envoy's: "+l.Why)
	}
	if s.told[namespace] = now; len(now) == 0 {
		delete(s.told, namespace)
	}
}

// oneOf is a pod of an identity, which has one: without an Envoy, if there is such.
func oneOf(pods []corev1.Pod, identity string) *corev1.Pod {
	var one *corev1.Pod
	for i := range pods {
		_, envoy := pods[i].Annotations[keptPorts]
		if pods[i].Labels[intent.LabelIdentity] == identity && (one == nil || !envoy) {
			one = &pods[i]
		}
	}
	return one
}

// errInTheWay is of a policy that others have made.
var errInTheWay = errors.New("another NetworkPolicy has its name, and is left as it is; rename that one")

// create makes one policy. One of others with its name stays as it is.
func (s *syncer) create(ctx context.Context, policy *networkingv1.NetworkPolicy) error {
	err := s.config.Writer.Create(ctx, policy)
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return failed("making", policy, err)
		}
		return nil
	}
	var there networkingv1.NetworkPolicy
	if err := s.config.Direct.Get(ctx, client.ObjectKeyFromObject(policy), &there); err != nil {
		return failed("reading", policy, err)
	}
	if isOf(s.config.Injector, &there) { // the watch brings it
		return nil
	}
	s.config.Event(&there, reason.NetworkPolicyInTheWay, errInTheWay.Error())
	return failed("making", policy, errInTheWay)
}
