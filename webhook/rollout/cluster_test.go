package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// onePodAPage is an API server that gives one pod at a time.
func onePodAPage(t *testing.T) client.Client {
	t.Helper()
	objects := []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "hooks"},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ours": "true"}},
			}},
		},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"ours": "true"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{"ours": "true"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}},
	}
	for _, name := range []string{"a/0", "a/1", "b/0", "theirs/0"} {
		key := pod(name).NamespacedName
		objects = append(objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, UID: "uid", Labels: map[string]string{intent.LabelIdentity: "x"},
		}})
	}
	objects = append(objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "plain"}})
	return fake.NewClientBuilder().
		WithScheme(clientgoscheme.Scheme).
		WithObjects(objects...).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if err := c.List(ctx, list, options...); err != nil {
					return err
				}
				var o client.ListOptions
				o.ApplyOptions(options)
				if o.Limit != page {
					return fmt.Errorf("expected pages of %d, got %d", page, o.Limit)
				}
				pods := list.(*corev1.PodList)
				at := 0
				if o.Continue != "" {
					if _, err := fmt.Sscan(o.Continue, &at); err != nil {
						return err
					}
				}
				all := pods.Items
				pods.Items = all[at:min(at+1, len(all))]
				if at+1 < len(all) {
					pods.Continue = fmt.Sprint(at + 1)
				}
				return nil
			},
		}).
		Build()
}

func TestEachPod(t *testing.T) {
	t.Parallel()
	api := onePodAPage(t)
	cluster := &APIServer{Cached: api, Direct: api, Writer: api, Configuration: "hooks"}
	for namespace, want := range map[string][]string{"": {"a/0", "a/1", "b/0"}, "a": {"a/0", "a/1"}, "theirs": nil} {
		var got []string
		if err := cluster.Each(t.Context(), namespace, func(p *corev1.Pod) { got = append(got, p.Namespace+"/"+p.Name) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in %q: expected %v, got %v", namespace, want, got)
		}
	}
	other := &APIServer{Cached: api, Direct: api, Writer: api, Configuration: "missing"}
	if err := other.Each(t.Context(), "", func(*corev1.Pod) { t.Error("a pod of nobody knows whom") }); err == nil {
		t.Error("expected an error of a configuration that is missing")
	}
}

// The patch changes one annotation of one pod, and of no later pod of its name.
func TestRefreshOfPod(t *testing.T) {
	t.Parallel()
	var patch map[string]any
	api := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, p client.Patch, _ ...client.PatchOption) error {
			data, err := p.Data(o)
			if err != nil {
				return err
			}
			return json.Unmarshal(data, &patch)
		},
	}).Build()
	before := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "0", UID: "uid"}}
	if _, err := (&APIServer{Writer: api}).Refresh(t.Context(), before, "value"); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"metadata": map[string]any{"uid": "uid", "annotations": map[string]any{intent.AnnotationRefresh: "value"}},
	}
	if fmt.Sprint(patch) != fmt.Sprint(want) {
		t.Errorf("expected %v, got %v", want, patch)
	}
}

// answers is what is asked of an Envoy, and what it answers.
type answers struct {
	status int
	body   string
	asked  string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = r.Method + " " + r.URL.String()
	return &http.Response{
		StatusCode: a.status,
		Status:     http.StatusText(a.status),
		Body:       io.NopCloser(strings.NewReader(a.body)),
		Request:    r,
	}, nil
}

func TestUpdatesByHTTP(t *testing.T) {
	t.Parallel()
	p := &corev1.Pod{Status: corev1.PodStatus{PodIP: "fd00::1"}}
	for name, test := range map[string]struct {
		answers
		wrong  bool
		noPage bool
	}{
		"a page":         {answers: answers{status: 200, body: `{"stats": [{"name": "cluster_manager.cds.update_success", "value": 2}]}`}},
		"no page":        {answers: answers{status: 404}, wrong: true, noPage: true},
		"another answer": {answers: answers{status: 503}, wrong: true},
		"redirected":     {answers: answers{status: 302}, wrong: true},
		"no metrics":     {answers: answers{status: 200, body: "{"}, wrong: true},
	} {
		by := NewByHTTP()
		by.Client.Transport = &test.answers
		got, err := by.Updates(t.Context(), p)
		if !test.wrong && got[cds].Taken != 2 {
			t.Errorf("%s: got %v", name, got)
		}
		if (err != nil) != test.wrong || errors.Is(err, ErrNoPage) != test.noPage {
			t.Errorf("%s: got %v", name, err)
		}
		if want := "GET http://[fd00::1]:"; !strings.HasPrefix(test.asked, want) {
			t.Errorf("%s: asked %s", name, test.asked)
		}
	}
}

// Whoever owns a pod writes what its address answers: it costs little, and leads nowhere.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const honest = `{"stats": [{"name": "cluster_manager.cds.update_success", "value": 2}]}`
	elsewhere := make(chan string, 1)
	for name, answer := range map[string]http.HandlerFunc{
		"an endless body": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, honest); err == nil; {
				_, err = io.WriteString(w, strings.Repeat(" ", 1<<10))
			}
		},
		"a body that does not end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, honest)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"long headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxAnswerHeaders))
			_, _ = io.WriteString(w, honest)
		},
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				elsewhere <- r.URL.Path
				_, _ = io.WriteString(w, honest)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"a long line that is not HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, strings.Repeat("spoofed ", 1<<10)+"\r\n\r\n")
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			defer server.Close()
			by := NewByHTTP()
			transport := by.Client.Transport.(*http.Transport) //nolint:errcheck,forcetypeassert // it is
			transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
			}
			got, err := by.Updates(t.Context(), &corev1.Pod{Status: corev1.PodStatus{PodIP: "10.0.0.1"}})
			if err == nil {
				t.Fatalf("believed: %v", got)
			}
			if len(err.Error()) > 2*maxMessage {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	t.Cleanup(func() {
		if len(elsewhere) > 0 {
			t.Error("the redirection was followed")
		}
	})
}
