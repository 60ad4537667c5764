package webhook

import (
	"context"
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// Nothing is registered for a namespace that the API server asks nobody of us about: who asks is somebody else.
func TestHandlerRegistersForServedNamespacesAlone(t *testing.T) {
	red := func(labels map[string]string) bool { return labels["team"] == "red" }
	of := func(team string) intent.Namespace {
		return intent.Namespace{Name: "demo", Labels: map[string]string{"team": team}}
	}
	for name, tc := range map[string]struct {
		namespaces namespaces
		served     error
		refused    string
	}{
		"served":                     {namespaces: namespaces{cached: of("red"), live: of("red")}},
		"served since a moment":      {namespaces: namespaces{cached: of("blue"), live: of("red")}},
		"excluded":                   {namespaces: namespaces{cached: of("blue"), live: of("blue")}, refused: "namespace demo: expected one that"},
		"nobody knows which are":     {namespaces: namespaces{cached: of("red")}, served: errors.New("no configuration"), refused: "no configuration"},
		"a namespace that is nobody": {namespaces: namespaces{err: errors.New("not found")}, refused: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &spire{}
			h := &Handler{
				Injector:   func() inject.Injector { return inject.Injector{Platform: webhooktest.Platform(t)} },
				Registrar:  s,
				Namespaces: tc.namespaces,
				Served:     func(context.Context) (Serves, error) { return red, tc.served },
			}
			res := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Create,
				Namespace: "demo",
				Object:    raw(t, webhooktest.Server()),
			}})
			if res.Allowed != (tc.refused == "") || len(s.calls) > 0 != res.Allowed {
				t.Errorf("allowed: %t, and registered %d times", res.Allowed, len(s.calls))
			}
			if !strings.Contains(res.Result.Message, tc.refused) {
				t.Errorf("message %q, want one with %q", res.Result.Message, tc.refused)
			}
		})
	}
}
