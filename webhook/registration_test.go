package webhook

import (
	"errors"
	"testing"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func TestVerdict(t *testing.T) {
	verdicts := map[verdict]string{admit: "admit", admitDeferred: "admit deferred", register: "register", deny: "deny"}
	one := []registrar.Workload{{}}
	for _, test := range []struct {
		name string
		r    registration
		want verdict
	}{
		{"to be registered", registration{decision: reason.PodEnabled}, register},
		{"by a platform that admits", registration{decision: reason.PodEnabled, onUnavailable: intent.Admit}, register},
		{"dry run", registration{decision: reason.PodEnabled, dryRun: true}, admit},
		{"dry run of a change", registration{decision: reason.Regenerated, dryRun: true, onUnavailable: intent.Admit}, admit},
		{"a change of a running pod", registration{decision: reason.Regenerated}, register},
		{"called again", registration{decision: reason.AlreadyInjected, onUnavailable: intent.Admit}, register},
		{"called again, deferred",
			registration{decision: reason.AlreadyInjected, deferred: true, onUnavailable: intent.Admit}, admit},
		{"deferred by a platform that denies now",
			registration{decision: reason.AlreadyInjected, deferred: true, onUnavailable: intent.Deny}, register},
		{"a pod that brings along that it is deferred",
			registration{decision: reason.PodEnabled, deferred: true, onUnavailable: intent.Admit}, register},
	} {
		test.r.workloads = one
		if got := test.r.verdict(); got != test.want {
			t.Errorf("%s: expected %s, got %s", test.name, verdicts[test.want], verdicts[got])
		}
	}
	if got := (registration{decision: reason.NotLabelled}).verdict(); got != admit {
		t.Errorf("nothing to register: expected admit, got %s", verdicts[got])
	}

	away := &registrationError{err: &registrar.Error{Kind: registrar.Unavailable}}
	for _, test := range []struct {
		name     string
		decision reason.Reason
		platform intent.OnUnavailable
		err      error
		want     verdict
	}{
		{"registered", reason.PodEnabled, intent.Deny, nil, admit},
		{"away", reason.PodEnabled, intent.Deny, away, deny},
		{"away, to be admitted", reason.PodEnabled, intent.Admit, away, admitDeferred},
		{"away, called again", reason.AlreadyInjected, intent.Admit, away, admitDeferred},
		{"away, a change to be admitted", reason.Regenerated, intent.Admit, away, admit},
		{"away, a change", reason.Regenerated, intent.Deny, away, deny},
		{"an error of another kind", reason.PodEnabled, intent.Admit, errors.New("x"), deny},
	} {
		r := registration{decision: test.decision, workloads: one, onUnavailable: test.platform, asked: true, err: test.err}
		if got := r.verdict(); got != test.want {
			t.Errorf("SPIRE is asked, %s: expected %s, got %s", test.name, verdicts[test.want], verdicts[got])
		}
	}
	for kind := registrar.Failed; kind <= registrar.TooMany; kind++ {
		for _, decision := range []reason.Reason{reason.PodEnabled, reason.Regenerated} {
			err := &registrar.Error{Kind: kind}
			r := registration{decision: decision, workloads: one, onUnavailable: intent.Admit, asked: true, err: err}
			if got := r.verdict(); (got == deny) != (kind != registrar.Unavailable) {
				t.Errorf("%s, %s: got %s", decision, kind, verdicts[got])
			}
		}
	}
}
