package webhook

import (
	"log/slog"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// maxClaim bounds each of a request's claims in the log, in bytes: no name that Kubernetes takes is longer.
const maxClaim = 256

// claims are what a request says of itself. A line of the log has them apart from what the injector knows: they are
// true if the API server sent the request, and whatever its sender likes if not.
type claims struct{ uid, user, resource, namespace, name string }

// LogValue implements [slog.LogValuer]: a line is written for each request.
func (c claims) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("uid", c.uid),
		slog.String("user", c.user),
		slog.String("resource", c.resource),
		slog.String("namespace", c.namespace),
		slog.String("name", c.name),
	)
}

// LogClaims has each line of the log say which request it is about, under the key "request". It is the LogConstructor
// of an [admission.Webhook].
func LogClaims(base logr.Logger, req *admission.Request) logr.Logger {
	if req == nil {
		return base
	}
	return base.WithValues("request", claims{
		uid:       claim(string(req.UID)),
		user:      claim(req.UserInfo.Username),
		resource:  claim(req.Resource.Resource),
		namespace: claim(req.Namespace),
		name:      claim(req.Name),
	})
}

func claim(text string) string { return intent.Cut(text, maxClaim) }
