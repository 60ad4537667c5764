package webhook

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// hostileHandler answers as a replica does, with its turns and metrics.
func hostileHandler(t *testing.T, n NamespaceReader) (*Handler, *Metrics) {
	t.Helper()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	injector := inject.Injector{Platform: webhooktest.Platform(t), Decisions: inject.NewDecisions()}
	return &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  &spire{},
		Namespaces: n,
		Metrics:    metrics,
		Turns:      NewTurns(),
	}, metrics
}

// TestForgedRequests are made up by somebody who reaches the port: they get into no metric and no log as they are, and
// nothing is looked up for them.
func TestForgedRequests(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	noNamespace := namespaces{err: errors.New("a namespace was looked up")}
	for name, forge := range map[string]func(*admission.Request){
		"operation": func(req *admission.Request) { req.Operation = admissionv1.Operation(long) },
		"connect":   func(req *admission.Request) { req.Operation = admissionv1.Connect },
		"namespace": func(req *admission.Request) { req.Namespace = long },
		"lines":     func(req *admission.Request) { req.Namespace = "demo\nlevel=error" },
		"everything": func(req *admission.Request) {
			req.Name, req.UserInfo.Username, req.UID, req.Namespace = long, long, types.UID(long), long
		},
	} {
		handler, metrics := hostileHandler(t, noNamespace)
		req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, webhooktest.Server()),
		}}
		forge(&req)
		var logged bytes.Buffer
		logger := funcr.NewJSON(func(line string) { logged.WriteString(line) }, funcr.Options{})
		ctx := log.IntoContext(context.Background(), LogClaims(logger, &req))
		res := handler.Handle(ctx, req)
		if res.Allowed || res.Result.Code != http.StatusForbidden || !strings.Contains(res.Result.Message, "request.") {
			t.Errorf("%s: expected a denial for what the request says of itself, got %+v", name, res.Result)
		}
		if len(res.Result.Message) > 2000 || logged.Len() == 0 || logged.Len() > 8000 || strings.Contains(logged.String(), "\n") {
			t.Errorf("%s: the message has %d bytes, and the log %d", name, len(res.Result.Message), logged.Len())
		}
		want := "CREATE"
		if name == "operation" || name == "connect" {
			want = "other"
		}
		if n := testutil.ToFloat64(metrics.admissions.WithLabelValues(MutatePod, want, "refused", "Invalid")); n != 1 {
			t.Errorf("%s: %v are counted for operation %s", name, n, want)
		}
	}
}

// TestHostilePodsAreNotLookedUp: the API server is not asked about a namespace once more for each of them.
func TestHostilePodsAreNotLookedUp(t *testing.T) {
	for _, hostile := range webhooktest.HostilePods(1) {
		if hostile.Bound == "" {
			continue
		}
		handler, _ := hostileHandler(t, onlyCached{})
		res := handler.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, hostile.Pod),
		}})
		if res.Allowed || !strings.HasPrefix(res.Result.Message, "OverLimit: ") || len(res.Result.Message) > 10<<10 {
			t.Errorf("%s: %.300s", hostile.Name, res.Result.Message)
		}
	}
}

// onlyCached has no live namespace.
type onlyCached struct{}

func (onlyCached) Namespace(context.Context, string) (intent.Namespace, error) {
	return intent.Namespace{Name: "demo"}, nil
}

func (onlyCached) Live(context.Context, string) (intent.Namespace, error) {
	return intent.Namespace{}, errors.New("the API server was asked")
}

// TestExpandingObjects: an empty object of two bytes is a container of a thousand in memory.
func TestExpandingObjects(t *testing.T) {
	for name, items := range map[string]string{
		"objects": strings.Repeat("{},", 1<<20) + "{}",
		"nulls":   strings.Repeat("null,", 1<<20) + "null",
	} {
		handler, _ := hostileHandler(t, namespaces{cached: intent.Namespace{Name: "demo"}})
		body := []byte(`{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [` + items + `]}}`)
		req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create, Namespace: "demo", Object: runtime.RawExtension{Raw: body},
		}}
		res := handler.Handle(context.Background(), req)
		if res.Allowed || !strings.Contains(res.Result.Message, "limits.objects of the platform file") {
			t.Errorf("%s: expected a denial before the pod is decoded, got %+v", name, res.Result)
		}
		req.Operation, req.Object, req.OldObject = admissionv1.Update, raw(t, webhooktest.Server()), req.Object
		if res := handler.Handle(context.Background(), req); res.Allowed || !strings.Contains(res.Result.Message, "limits.objects") {
			t.Errorf("%s: expected the same of the pod as it was, got %+v", name, res.Result)
		}
		validator := Validator{Injector: handler.Injector, Namespaces: handler.Namespaces}
		req.Operation, req.OldObject, req.Object = admissionv1.Create, runtime.RawExtension{}, runtime.RawExtension{Raw: body}
		if res := validator.Handle(context.Background(), req); res.Allowed || !strings.Contains(res.Result.Message, "limits.objects") {
			t.Errorf("%s: expected the same when it is validated, got %+v", name, res.Result)
		}
		workloads := WorkloadValidator{Injector: handler.Injector, Namespaces: handler.Namespaces}
		req.Kind = metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
		req.Object.Raw = []byte(`{"spec": {"template": ` + string(body) + `}}`)
		if res := workloads.Handle(context.Background(), req); res.Allowed || !strings.Contains(res.Result.Message, "limits.objects") {
			t.Errorf("%s: expected the same of a workload, got %+v", name, res.Result)
		}
	}
	text := []byte(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"x": "` +
		strings.Repeat(`{n\"`, 100_000) + `"}}, "spec": {"containers": [{"name": "app", "image": "app"}]}}`)
	if err := (intent.Bounds{}).AllowObject(text); err != nil {
		t.Errorf("a text is taken for objects: %v", err)
	}
}

// TestCallerIsGone: nothing is decided, looked up or registered for nobody.
func TestCallerIsGone(t *testing.T) {
	handler, metrics := hostileHandler(t, namespaces{cached: intent.Namespace{Name: "demo"}})
	s := &spire{}
	handler.Registrar = s
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	res := handler.Handle(ctx, admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, webhooktest.Server()),
	}})
	if res.Allowed || len(s.calls) > 0 {
		t.Errorf("allowed %t after %d calls of SPIRE", res.Allowed, len(s.calls))
	}
	if n := testutil.ToFloat64(metrics.admissions.WithLabelValues(MutatePod, "CREATE", "refused", string(reason.CallerGone))); n != 1 {
		t.Errorf("%v are counted", n)
	}
}

// TestTooManyOfANamespace: who comes too much is told to try again, in the words of HTTP.
func TestTooManyOfANamespace(t *testing.T) {
	handler, _ := hostileHandler(t, namespaces{cached: intent.Namespace{Name: "demo"}})
	handler.Turns = newTurns(1, 1, 0)
	done, err := handler.Turns.Take(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	res := handler.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, webhooktest.Server()),
	}})
	if res.Allowed || res.Result.Code != http.StatusTooManyRequests || !strings.Contains(res.Result.Message, "try again") {
		t.Errorf("expected 429, got %+v", res.Result)
	}
}
