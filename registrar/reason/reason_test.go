package reason_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Every constant has one row, and every row says something.
func TestTable(t *testing.T) {
	declared := declaredReasons(t)
	for _, row := range reason.All() {
		if !declared[row.Reason] {
			t.Errorf("%q: expected one row, of a constant", row.Reason)
		}
		delete(declared, row.Reason)
		if row.Meaning == "" || row.Kind == "" {
			t.Errorf("%s: no meaning or kind: %+v", row.Reason, row)
		}
		isEvent := row.Kind != reason.Decision && row.Kind != reason.Refusal
		if hasType := row.EventType == corev1.EventTypeNormal || row.EventType == corev1.EventTypeWarning; hasType != isEvent {
			t.Errorf("%s: event type %q of a %s", row.Reason, row.EventType, row.Kind)
		}
		if got, known := row.Reason.Row(); !known || got != row {
			t.Errorf("%s: row %+v, %t", row.Reason, got, known)
		}
		if row.Reason.String() != string(row.Reason) {
			t.Errorf("%s is written %q", string(row.Reason), row.Reason)
		}
	}
	for r := range declared {
		t.Errorf("%s has no row", r)
	}
	for _, unknown := range []reason.Reason{"", "Unheard"} {
		if _, known := unknown.Row(); known {
			t.Errorf("%q is known", unknown)
		}
	}
}

// declaredReasons are the values of the package's constants of type Reason.
func declaredReasons(t *testing.T) map[reason.Reason]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[reason.Reason]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Reason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if value != spec.Names[0].Name {
				t.Errorf("constant %s has the value %q", spec.Names[0].Name, value)
			}
			all[reason.Reason(value)] = true
		}
		return true
	})
	if len(all) == 0 {
		t.Fatal("reason.go declares no reasons")
	}
	return all
}

func TestOf(t *testing.T) {
	n := 0
	for _, kind := range []reason.Kind{reason.Decision, reason.Refusal, reason.Entry, reason.Federation, reason.Platform, reason.Rollout, reason.Network} {
		all := reason.Of(kind)
		for _, r := range all {
			if row, _ := r.Row(); row.Kind != kind {
				t.Errorf("%s is of kind %s, and among those of kind %s", r, row.Kind, kind)
			}
		}
		n += len(all)
	}
	if n != len(reason.All()) {
		t.Errorf("%d reasons by their kinds, want all %d", n, len(reason.All()))
	}
	if both := reason.Of(reason.Platform, reason.Rollout); len(both) != 6 {
		t.Errorf("%v, want those of both kinds", both)
	}
}

func TestEventType(t *testing.T) {
	failed := errors.New("denied")
	for r, want := range map[reason.Reason][2]string{
		reason.EntryMissing:         {corev1.EventTypeNormal, corev1.EventTypeWarning},
		reason.EntryDeletedByOthers: {corev1.EventTypeWarning, corev1.EventTypeWarning},
		reason.PlatformReloaded:     {corev1.EventTypeNormal, corev1.EventTypeWarning},
		reason.PodEnabled:           {corev1.EventTypeWarning, corev1.EventTypeWarning},
		"Unheard":                   {corev1.EventTypeWarning, corev1.EventTypeWarning},
	} {
		if got := [2]string{r.EventType(nil), r.EventType(failed)}; got != want {
			t.Errorf("%s: event types %v of success and failure, want %v", r, got, want)
		}
	}
}
