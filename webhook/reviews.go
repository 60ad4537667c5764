package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	jsonv2 "github.com/go-json-experiment/json"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Reviews answers AdmissionReviews of [admissionv1] by its webhook. The webhook's own ServeHTTP goes over a request
// four times before its handler sees it, which is more work than deciding on a pod.
//
// Requests are read by the second version of encoding/json, in half the time of the first. It tells names of
// fields by their case, as the API server does, and takes none twice.
type Reviews struct{ *admission.Webhook }

// review is an AdmissionReview that asks.
type review struct {
	metav1.TypeMeta `json:",inline"`
	Request         *admissionv1.AdmissionRequest `json:"request"`
}

var podType = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}

var reviewType = metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}

// ServeHTTP implements [http.Handler].
func (s Reviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var response admission.Response
	if request, code, err := readReview(r); err != nil {
		log.FromContext(r.Context()).Info("bad request", "error", err.Error())
		response = admission.Errored(code, err)
	} else {
		response = s.Handle(r.Context(), admission.Request{AdmissionRequest: *request})
	}
	answer := admissionv1.AdmissionReview{TypeMeta: reviewType, Response: &response.AdmissionResponse}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.FromContext(r.Context()).Info("the answer did not reach the caller", "error", err.Error())
	}
}

// readReview returns what a review asks, or the HTTP status for what is none. All of the body is read.
func readReview(r *http.Request) (request *admissionv1.AdmissionRequest, code int32, err error) {
	var body bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= maxRequestBytes {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // and not in steps
	}
	if _, err := body.ReadFrom(r.Body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge, err
		}
		return nil, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err)
	}
	if got := r.Header.Get("Content-Type"); got != runtime.ContentTypeJSON {
		return nil, http.StatusBadRequest, fmt.Errorf("expected Content-Type %s, got %.60q", runtime.ContentTypeJSON, got)
	}
	var asked review
	if err := jsonv2.Unmarshal(body.Bytes(), &asked); err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("decoding the AdmissionReview: %w", err)
	}
	if asked.TypeMeta != reviewType || asked.Request == nil {
		return nil, http.StatusBadRequest, fmt.Errorf("expected an %s of %s with a request, got %.60q of %.60q",
			reviewType.Kind, reviewType.APIVersion, asked.Kind, asked.APIVersion)
	}
	return asked.Request, http.StatusOK, nil
}

// decodePod reads a pod as the API server does. One that does not say what it is, is taken for a pod: what was asked
// about is in the request.
func decodePod(object runtime.RawExtension, pod *corev1.Pod) error {
	if err := jsonv2.Unmarshal(object.Raw, pod); err != nil {
		return err
	}
	if got := pod.TypeMeta; got != podType && got != (metav1.TypeMeta{}) {
		return fmt.Errorf("expected a Pod of v1, got %.60q of %.60q", pod.Kind, pod.APIVersion)
	}
	return nil
}
