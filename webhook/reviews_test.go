package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/randfill"
)

// answerTo sends a body to a handler that admits everything, and returns its answer and what it was asked.
func answerTo(t *testing.T, contentType, body string) (admissionv1.AdmissionReview, *admission.Request) {
	t.Helper()
	var asked *admission.Request
	reviews := Reviews{&admission.Webhook{Handler: admission.HandlerFunc(
		func(_ context.Context, req admission.Request) admission.Response {
			asked = &req
			return admission.Allowed("yes")
		})}}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	reviews.ServeHTTP(recorder, request)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil ||
		answer.TypeMeta != reviewType {
		t.Fatalf("expected an AdmissionReview, got %s (%v)", recorder.Body, err)
	}
	return answer, asked
}

func TestReviewIsAnswered(t *testing.T) {
	want := admissionv1.AdmissionRequest{
		UID:         "7",
		Kind:        metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:    metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		SubResource: "status",
		Name:        "api",
		Namespace:   "demo",
		Operation:   admissionv1.Update,
		DryRun:      new(true),
		Object:      runtime.RawExtension{Raw: []byte(`{"a":"\u003c"}`)},
		OldObject:   runtime.RawExtension{Raw: []byte(`{"a":2}`)},
	}
	want.UserInfo.Username = "kubelet"
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: reviewType, Request: &want})
	if err != nil {
		t.Fatal(err)
	}
	answer, asked := answerTo(t, runtime.ContentTypeJSON, string(body))
	if !answer.Response.Allowed || answer.Response.UID != want.UID {
		t.Errorf("expected request %s to be allowed, got %+v", want.UID, answer.Response)
	}
	if diff := cmp.Diff(&want, &asked.AdmissionRequest); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is no review reaches no handler.
func TestBadReview(t *testing.T) {
	const good = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1"}}`
	if answer, asked := answerTo(t, runtime.ContentTypeJSON, good); !answer.Response.Allowed || asked == nil {
		t.Fatalf("expected an answer, got %+v", answer.Response)
	}
	for name, test := range map[string]struct{ contentType, body, want string }{
		"content type": {"text/plain", good, "Content-Type"},
		"empty":        {runtime.ContentTypeJSON, "", "decoding the AdmissionReview"},
		"cut":          {runtime.ContentTypeJSON, good[:40], "decoding the AdmissionReview"},
		"more":         {runtime.ContentTypeJSON, good + good, "decoding the AdmissionReview"},
		"twice":        {runtime.ContentTypeJSON, strings.Replace(good, `"uid"`, `"uid":"2","uid"`, 1), "duplicate"},
		"version":      {runtime.ContentTypeJSON, strings.Replace(good, "/v1", "/v1beta1", 1), "expected an AdmissionReview"},
		"kind":         {runtime.ContentTypeJSON, strings.Replace(good, "Admission", "Token", 1), "TokenReview"},
		"no request":   {runtime.ContentTypeJSON, strings.Replace(good, "request", "Request", 1), "with a request"},
	} {
		answer, asked := answerTo(t, test.contentType, test.body)
		if asked != nil || answer.Response.Allowed || !strings.Contains(answer.Response.Result.Message, test.want) {
			t.Errorf("%s: asked=%t, expected an error with %q, got %+v", name, asked != nil, test.want, answer.Response.Result)
		}
	}
}

// TestDecodePod compares with how the API server itself reads, for every field that a pod may have.
func TestDecodePod(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.3).NumElements(1, 2).MaxDepth(30).Funcs(
		func(q *resource.Quantity, c randfill.Continue) { *q = resource.MustParse(fmt.Sprint(c.Int31(), "m")) },
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31()) },
		func(at *metav1.Time, c randfill.Continue) { *at = metav1.Unix(int64(c.Int31()), 0) },
		func(f *metav1.FieldsV1, _ randfill.Continue) { f.SetRawBytes([]byte(`{"f:a":{}}`)) },
		func(at *metav1.MicroTime, c randfill.Continue) {
			*at = metav1.NewMicroTime(time.Unix(int64(c.Int31()), 0))
		},
	)
	for range 200 {
		var pod, want, got corev1.Pod
		fill.Fill(&pod)
		object, err := runtimeJSON(&pod)
		if err != nil {
			t.Fatal(err)
		}
		if err := kubejson.UnmarshalCaseSensitivePreserveInts(object, &want); err != nil {
			t.Fatal(err)
		}
		if err := decodePod(runtime.RawExtension{Raw: object}, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}

func TestDecodeWhatIsNoPod(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         ``,
		"no kind":         `{"apiVersion":"v1"}`,
		"another kind":    `{"apiVersion":"v1","kind":"Node"}`,
		"another version": `{"apiVersion":"v2","kind":"Pod"}`,
		"a field twice":   `{"apiVersion":"v1","kind":"Pod","spec":{},"spec":{"hostNetwork":true}}`,
		"another type":    `{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":"true"}}`,
	} {
		if err := decodePod(runtime.RawExtension{Raw: []byte(text)}, &corev1.Pod{}); err == nil {
			t.Errorf("%s: expected an error", name)
		}
	}
	if err := decodePod(runtime.RawExtension{Raw: []byte(`{}`)}, &corev1.Pod{}); err != nil {
		t.Errorf("a pod that does not say so: expected it to be read, got %v", err)
	}
	var pod corev1.Pod
	object := []byte(`{"apiVersion":"v1","kind":"Pod","Spec":{"hostNetwork":true},"unknown":1}`)
	if err := decodePod(runtime.RawExtension{Raw: object}, &pod); err != nil || pod.Spec.HostNetwork {
		t.Errorf("a field that is not spelt as the API spells it: expected it to be ignored, got %t (%v)", pod.Spec.HostNetwork, err)
	}
}

// The whole body is read, so that the connection can be used again and the time to read it ends.
func TestReviewIsReadToItsEnd(t *testing.T) {
	body := &ending{Reader: strings.NewReader(`{}`)}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	request.ContentLength = 2
	if _, _, err := readReview(request); err == nil || !body.ended {
		t.Errorf("ended=%t, %v", body.ended, err)
	}
}

// ending notes that its end was read.
type ending struct {
	io.Reader
	ended bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	e.ended = e.ended || err != nil
	return n, err
}

func (e *ending) Close() error { return nil }
