package inject

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// maxMessage is more than any message has, and small for a log and for an event.
const maxMessage = 10 << 10

// TestHostilePods: what a pod asks for is measured before it is made. The message says which limit was passed, what was
// found and what is allowed, and is short however many mistakes there are.
func TestHostilePods(t *testing.T) {
	for _, hostile := range webhooktest.HostilePods(1) {
		t.Run(hostile.Name, func(t *testing.T) {
			generated, kept := 0, 0
			injector := Injector{
				Platform: webhooktest.Platform(t),
				Generate: func(p ir.Proxy) (templates.Config, error) { generated++; return templates.Generate(p) },
				Keep:     func(ir.Proxy, templates.Config) { kept++ },
			}
			_, err := injector.Inject(intent.Namespace{Name: "demo"}, hostile.Pod)
			if err == nil {
				if hostile.Bound != "" {
					t.Fatalf("expected a denial by limits.%s, got none", hostile.Bound)
				}
				return
			}
			var refusal *intent.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("expected a refusal, got %v", err)
			}
			t.Log(err)
			if len(err.Error()) > maxMessage {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
			if hostile.Name == "larger than annotations can be" && (generated != 1 || !strings.Contains(err.Error(), "262144 bytes")) {
				t.Errorf("expected a denial for the size of what was generated, got %v", err)
			}
			if kept > 0 {
				t.Error("something is kept of a pod that is denied")
			}
			if hostile.Bound == "" {
				return
			}
			if generated > 0 {
				t.Error("Envoy's configuration was generated before the pod was measured")
			}
			if refusal.Reason != reason.OverLimit || !strings.Contains(err.Error(), "limits."+hostile.Bound+" of the platform file") {
				t.Errorf("expected limits.%s to be told, got %v", hostile.Bound, err)
			}
		})
	}
}

// A decision takes at most so much memory, whatever it is about: a replica of 256 MiB makes several at a time.
const maxDecisionBytes = 32 << 20

// TestCostOfHostilePods counts what a decision allocates, freed or not, which is the same in each run.
func TestCostOfHostilePods(t *testing.T) {
	for _, hostile := range webhooktest.HostilePods(2) {
		injector := Injector{Platform: webhooktest.Platform(t)}
		bytes := allocated(func() { _, _ = injector.Inject(intent.Namespace{Name: "demo"}, hostile.Pod) })
		size := sizeOf(t, hostile.Pod)
		t.Logf("%-35s %8d bytes, %9d allocated, %d each", hostile.Name, size, bytes, bytes/size)
		if bytes > maxDecisionBytes {
			t.Errorf("%s: %d bytes are allocated for a pod of %d", hostile.Name, bytes, size)
		}
	}
}

// TestCostOfLargeNamespaces: a namespace's annotations cost no more than a pod's own.
func TestCostOfLargeNamespaces(t *testing.T) {
	for _, hostile := range webhooktest.HostilePods(3) {
		injector := Injector{Platform: webhooktest.Platform(t)}
		ns := intent.Namespace{Name: "demo", Annotations: hostile.Pod.Annotations}
		pod := webhooktest.Server()
		pod.Annotations = nil
		for what, decide := range map[string]func(){
			"injection": func() { _, _ = injector.Inject(ns, pod) },
			"needs":     func() { injector.NeedsOfTemplate(ns, pod) },
			"domains":   func() { intent.FederatesWith(injector.Platform, ns) },
		} {
			if bytes := allocated(decide); bytes > maxDecisionBytes {
				t.Errorf("%s, %s: %d bytes are allocated", hostile.Name, what, bytes)
			}
		}
	}
}

// TestStoredTemplatesAreMeasured: controllers read what no admission of ours has seen, at each event.
func TestStoredTemplatesAreMeasured(t *testing.T) {
	for _, hostile := range webhooktest.HostilePods(4) {
		if hostile.Bound == "" {
			continue
		}
		injector := Injector{Platform: webhooktest.Platform(t)}
		var needs registrar.Needs
		bytes := allocated(func() { needs = injector.NeedsOfTemplate(intent.Namespace{Name: "demo"}, hostile.Pod) })
		if len(needs.Workloads)+len(needs.Held) > 0 || bytes > maxDecisionBytes {
			t.Errorf("%s: needs %v, and %d bytes are allocated", hostile.Name, needs, bytes)
		}
	}
}

// allocated is how many bytes a function allocates, whether they are freed or not.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func sizeOf(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	data, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}
