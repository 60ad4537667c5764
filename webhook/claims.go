package webhook

import (
	"fmt"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// What a request says of itself is a claim until somebody has authenticated the API server: it is looked at before it
// gets into a look-up, a log or a metric.

// checkRequest finds what no API server that this webhook is registered at would send.
func checkRequest(req admission.Request) error {
	var mistakes []intent.Mistake
	if operationOf(req.Operation) == otherOperation {
		mistakes = append(mistakes, intent.Mistake{
			Where: "request.operation",
			What:  fmt.Sprintf("expected %s or %s, got %.60q", admissionv1.Create, admissionv1.Update, req.Operation),
		})
	}
	if errs := validation.IsDNS1123Label(req.Namespace); len(errs) > 0 {
		mistakes = append(mistakes, intent.Mistake{
			Where: "request.namespace",
			What:  fmt.Sprintf("expected the name of a namespace, got %.60q", req.Namespace),
		})
	}
	return intent.Refuse(reason.Invalid, mistakes)
}

// maxLogged is how many bytes of one value are logged.
const maxLogged = 256

// LogRequest is a logger with what a request claims of itself, none of it longer than any name that Kubernetes takes.
func LogRequest(base logr.Logger, req *admission.Request) logr.Logger {
	if req == nil {
		return base
	}
	cut := func(s string) string { return intent.Cut(s, maxLogged) }
	namespace, name := cut(req.Namespace), cut(req.Name)
	resource := req.Resource
	resource.Group, resource.Version, resource.Resource = cut(resource.Group), cut(resource.Version), cut(resource.Resource)
	return base.WithValues(
		"object", klog.KRef(namespace, name),
		"namespace", namespace, "name", name,
		"resource", resource,
		"user", cut(req.UserInfo.Username),
		"requestID", cut(string(req.UID)),
	)
}
