package webhook

import (
	"errors"
	"testing"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func TestVerdict(t *testing.T) {
	away := &registrationError{err: &registrar.Error{Kind: registrar.Unavailable}}
	verdicts := map[verdict]string{admit: "admit", admitDeferred: "admit deferred", register: "register", deny: "deny"}
	one := []registrar.Workload{{}}
	for _, test := range []struct {
		name string
		r    registration
		want verdict
	}{
		{"to be registered", registration{decision: reason.PodEnabled, workloads: one}, register},
		{"to be registered, whatever is done without SPIRE",
			registration{decision: reason.PodEnabled, workloads: one, onUnavailable: intent.Admit}, register},
		{"nothing to register", registration{decision: reason.NotLabelled}, admit},
		{"dry run", registration{decision: reason.PodEnabled, workloads: one, dryRun: true}, admit},
		{"dry run of a change",
			registration{decision: reason.Regenerated, workloads: one, dryRun: true, onUnavailable: intent.Admit}, admit},
		{"a change of a running pod", registration{decision: reason.Regenerated, workloads: one}, register},
		{"called again",
			registration{decision: reason.AlreadyInjected, workloads: one, onUnavailable: intent.Admit}, register},
		{"called again, deferred",
			registration{decision: reason.AlreadyInjected, workloads: one, deferred: true, onUnavailable: intent.Admit}, admit},
		{"deferred by a platform that denies now",
			registration{decision: reason.AlreadyInjected, workloads: one, deferred: true, onUnavailable: intent.Deny}, register},
		{"a pod that brings along that it is deferred",
			registration{decision: reason.PodEnabled, workloads: one, deferred: true, onUnavailable: intent.Admit}, register},

		{"registered", registration{decision: reason.PodEnabled, workloads: one, asked: true}, admit},
		{"SPIRE is away",
			registration{decision: reason.PodEnabled, workloads: one, asked: true, err: away, onUnavailable: intent.Deny}, deny},
		{"SPIRE is away, to be admitted",
			registration{decision: reason.PodEnabled, workloads: one, asked: true, err: away, onUnavailable: intent.Admit}, admitDeferred},
		{"SPIRE is away, called again",
			registration{decision: reason.AlreadyInjected, workloads: one, asked: true, err: away, onUnavailable: intent.Admit}, admitDeferred},
		{"SPIRE is away, a change to be admitted",
			registration{decision: reason.Regenerated, workloads: one, asked: true, err: away, onUnavailable: intent.Admit}, admit},
		{"SPIRE is away, a change",
			registration{decision: reason.Regenerated, workloads: one, asked: true, err: away, onUnavailable: intent.Deny}, deny},
		{"an error of another kind",
			registration{decision: reason.PodEnabled, workloads: one, asked: true, err: errors.New("x"), onUnavailable: intent.Admit}, deny},
	} {
		if got := test.r.verdict(); got != test.want {
			t.Errorf("%s: expected %s, got %s", test.name, verdicts[test.want], verdicts[got])
		}
	}
	for _, kind := range []registrar.Kind{registrar.Failed, registrar.Denied, registrar.Invalid, registrar.Conflict, registrar.MissingBundle} {
		for _, decision := range []reason.Reason{reason.PodEnabled, reason.Regenerated} {
			r := registration{decision: decision, workloads: one, asked: true, err: &registrar.Error{Kind: kind}, onUnavailable: intent.Admit}
			if got := r.verdict(); got != deny {
				t.Errorf("%s, %s: expected deny, got %s", decision, kind, verdicts[got])
			}
		}
	}
}
