package webhook

import (
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation"
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
