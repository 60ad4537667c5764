package webhook

import (
	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// maxClaim bounds each of a request's claims in the log, in bytes: no name that Kubernetes takes is longer.
const maxClaim = 256

// claims are what a request says of itself. A line of the log has them apart from what the injector knows: they are
// true if the API server sent the request, and whatever its sender likes if not.
type claims struct {
	UID       string `json:"uid"`
	User      string `json:"user"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// LogClaims has each line of the log say which request it is about, under the key "request". It is the LogConstructor
// of an [admission.Webhook].
func LogClaims(base logr.Logger, req *admission.Request) logr.Logger {
	if req == nil {
		return base
	}
	return base.WithValues("request", claims{
		UID:       claim(string(req.UID)),
		User:      claim(req.UserInfo.Username),
		Resource:  claim(req.Resource.Resource),
		Namespace: claim(req.Namespace),
		Name:      claim(req.Name),
	})
}

func claim(text string) string { return intent.Cut(text, maxClaim) }
