package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The webhooks, by the paths at which the API server finds them.
const (
	MutatePod        = "mutate-pod"
	ValidatePod      = "validate-pod"
	ValidateWorkload = "validate-workload"
)

// request is one that is being answered.
type request struct {
	admission.Request
	webhook string
	start   time.Time
	metrics *Metrics
}

// answer is the answer to a request, which the log and the metrics note too.
func (r request) answer(ctx context.Context, res inject.Result, patch []byte, err error) admission.Response {
	took := time.Since(r.start)
	logger := log.FromContext(ctx)
	said := []any{"webhook", r.webhook, "operation", operationOf(r.Operation), "dryRun", dryRun(r.Request)}
	if err != nil {
		why, code := classify(err)
		if ctx.Err() != nil && code != http.StatusForbidden {
			why = reason.CallerGone
		}
		logger.Info("refused", append(said, "reason", why, "error", intent.Cut(err.Error(), maxErrorBytes), "duration", took)...)
		r.metrics.observe(r.webhook, r.Operation, "refused", why, took)
		return denied(code, why, err)
	}
	logger.Info("admitted", append(said, "reason", res.Reason, "spiffeID", spiffeIDOf(res), "duration", took)...)
	r.metrics.observe(r.webhook, r.Operation, "admitted", res.Reason, took)
	response := admission.Allowed(string(res.Reason))
	if len(patch) > 0 {
		response.Patch, response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	response = response.WithWarnings(res.Warnings...)
	if res.Reason == reason.RegistrationDeferred {
		response = response.WithWarnings(string(reason.RegistrationDeferred) +
			": SPIRE does not answer: the pod waits for its certificate until it does")
	}
	return response
}

// maxErrorBytes bounds what is said and logged of an error. Those of pods are shorter by themselves.
const maxErrorBytes = 10 << 10

func spiffeIDOf(res inject.Result) string {
	if len(res.Workloads) == 0 {
		return ""
	}
	return res.Workloads[0].ID.String()
}

func dryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// classify gives an error its reason and the HTTP status that makes clients do the right thing: 5xx may be tried again.
func classify(err error) (reason.Reason, int32) {
	var refusal *intent.Refusal
	var registration *registrationError
	switch {
	case errors.As(err, &refusal):
		return refusal.Reason, http.StatusForbidden
	case errors.Is(err, errTooMany):
		return reason.TooManyRequests, http.StatusTooManyRequests
	case errors.As(err, &registration) && registrar.KindOf(err) == registrar.Unavailable:
		return reason.SPIREUnavailable, http.StatusServiceUnavailable
	case errors.As(err, &registration):
		return reason.SPIRERejected, http.StatusInternalServerError
	}
	return reason.Internal, http.StatusInternalServerError
}

// denied is an answer whose message is the error, word for word: the API server shows only the message to people.
func denied(code int32, reason reason.Reason, err error) admission.Response {
	message := intent.Cut(err.Error(), maxErrorBytes)
	if code != http.StatusForbidden {
		message = string(reason) + ": " + message
	}
	// No RetryAfterSeconds, also where it makes sense: by it kubectl says nothing for ten tries.
	result := &metav1.Status{Code: code, Reason: statusReason(code), Message: message}
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: result}}
}

func statusReason(code int32) metav1.StatusReason {
	switch code {
	case http.StatusForbidden:
		return metav1.StatusReasonForbidden
	case http.StatusTooManyRequests:
		return metav1.StatusReasonTooManyRequests
	case http.StatusServiceUnavailable:
		return metav1.StatusReasonServiceUnavailable
	}
	return metav1.StatusReasonInternalError
}
