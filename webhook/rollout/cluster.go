package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/pager"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// APIServer is the [Cluster] of a manager. Pods are read from the API server itself, page by page and only when there
// is a reason: they carry their whole configuration, which would fill the memory.
type APIServer struct {
	Cached client.Reader // has namespaces and webhook configurations
	Direct client.Reader
	Writer client.Writer
	// Configuration is the name of the MutatingWebhookConfiguration: other injectors' namespaces are not ours.
	Configuration string
}

// page is how many pods are read at a time.
const page = 100

// Each implements [Cluster].
func (a *APIServer) Each(ctx context.Context, namespace string, do func(*corev1.Pod)) error {
	ours, err := a.ours(ctx)
	if err != nil {
		return err
	}
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		var pods corev1.PodList
		err := a.Direct.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{intent.LabelIdentity},
			client.Limit(o.Limit), client.Continue(o.Continue))
		return &pods, err
	})
	pages.PageSize, pages.PageBufferSize = page, 1
	pages.FullListIfExpired = false // which would be in memory at once
	err = pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pod, ok := object.(*corev1.Pod); ok && ours(pod.Namespace) {
			do(pod)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing injected pods: %w", err)
	}
	return nil
}

// ours says of which namespaces the API server asks this injector.
func (a *APIServer) ours(ctx context.Context) (func(namespace string) bool, error) {
	serves, err := webhook.ServedBy(a.Cached, a.Configuration)(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which namespaces are ours: %w", err)
	}
	known := map[string]bool{}
	return func(name string) bool {
		is, asked := known[name]
		if asked {
			return is
		}
		var ns corev1.Namespace
		if err := a.Cached.Get(ctx, client.ObjectKey{Name: name}, &ns); err == nil {
			is = serves(ns.Labels)
		}
		known[name] = is
		return is
	}, nil
}

// Pod implements [Cluster].
func (a *APIServer) Pod(ctx context.Context, name types.NamespacedName) (*corev1.Pod, error) {
	var pod corev1.Pod
	return &pod, a.Direct.Get(ctx, name, &pod)
}

// Namespace implements [Cluster].
func (a *APIServer) Namespace(ctx context.Context, name string) (intent.Namespace, error) {
	return webhook.Namespaces{Cached: a.Cached, Direct: a.Direct}.Namespace(ctx, name)
}

// Refresh implements [Cluster]. The patch is for this pod and no later one of its name. It may meet a change by its
// owner, which is not lost by it: the webhook makes the configuration by what the pod says at that moment.
func (a *APIServer) Refresh(ctx context.Context, pod *corev1.Pod, value string) (*corev1.Pod, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "annotations": map[string]string{intent.AnnotationRefresh: value},
	}})
	if err != nil {
		return nil, err
	}
	out := pod.DeepCopy()
	return out, a.Writer.Patch(ctx, out, client.RawPatch(types.MergePatchType, patch))
}

// ByHTTP asks Envoys at their pods' addresses.
type ByHTTP struct {
	Client *http.Client
}

// NewByHTTP returns one that waits for 2 s at most, and reads little: whoever owns the pod writes the answer.
func NewByHTTP() ByHTTP {
	return ByHTTP{&http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{ // no proxy: pods are near
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswerHeaders,
			Protocols:              http1(),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const (
	maxAnswer        = 64 << 10 // far more than the page has
	maxAnswerHeaders = 16 << 10
	maxMessage       = 500
)

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Updates implements [Envoys].
func (b ByHTTP) Updates(ctx context.Context, pod *corev1.Pod) (templates.Updates, error) {
	address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(ir.ReadinessPort))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+templates.UpdatesPath, nil)
	if err != nil {
		return nil, err
	}
	response, err := b.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%.*s", maxMessage, err.Error()) // which may quote the answer
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, ErrNoPage
	default:
		return nil, fmt.Errorf("asking %s how Envoy took its configuration: expected status 200, got %d",
			request.URL, response.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking %s how Envoy took its configuration: %w", request.URL, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("asking %s how Envoy took its configuration: expected at most %d bytes, got more",
			request.URL, maxAnswer)
	}
	return templates.ParseUpdates(answer)
}
