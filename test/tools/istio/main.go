// Istio answers reviews of pods as istiod does: by its package of injection and the template of its chart, with the
// settings that its profile "default" has. Without arguments it reads one AdmissionReview, answers it for a while, and
// prints what that cost. With `serve ADDRESS` it is a webhook at /inject of that address, whose certificate it prints.
//
// The bench compares with it; nothing else uses it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/kube/inject"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/log"
	admissionv1 "k8s.io/api/admission/v1"
)

func main() {
	if err := runWith(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "istio:", err)
		os.Exit(1)
	}
}

func runWith(args []string) error {
	switch {
	case len(args) == 0:
		return run(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1], os.Stdout)
	}
	return fmt.Errorf("expected no arguments, or serve ADDRESS, got %q", args)
}

// cost is of one answer.
type cost struct {
	Nanoseconds int64  `json:"nanoseconds"` // of processors
	Bytes       int64  `json:"bytes"`       // allocated
	Allocations int64  `json:"allocations"`
	Patch       []byte `json:"patch"`
}

func run(in io.Reader, out io.Writer) error {
	review, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	handler, err := newHandler()
	if err != nil {
		return err
	}
	patch, err := answer(handler, review)
	if err != nil {
		return err
	}
	var spent time.Duration
	figures := testing.Benchmark(func(b *testing.B) {
		before := processorTime()
		for b.Loop() {
			if _, err := answer(handler, review); err != nil {
				b.Fatal(err)
			}
		}
		spent = processorTime() - before
	})
	return json.NewEncoder(out).Encode(cost{
		Nanoseconds: spent.Nanoseconds() / int64(max(figures.N, 1)),
		Bytes:       figures.AllocedBytesPerOp(),
		Allocations: figures.AllocsPerOp(),
		Patch:       patch,
	})
}

// processorTime is what this process has taken since it started.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// newHandler is Istio's webhook.
func newHandler() (http.Handler, error) {
	log.FindScope(log.DefaultScopeName).SetOutputLevel(log.ErrorLevel)
	features.EnableNativeSidecars = features.NativeSidecarModeEnabled // as istiod finds out by the nodes' versions
	configured, err := configuration()
	if err != nil {
		return nil, fmt.Errorf("rendering Istio's chart: %w", err)
	}
	env := model.NewEnvironment()
	env.Watcher = meshwatcher.NewTestWatcher(configured.mesh)
	push := model.NewPushContext()
	push.ProxyConfigs = &model.ProxyConfigs{}
	env.SetPushContext(push)
	mux := http.NewServeMux()
	_, err = inject.NewWebhook(inject.WebhookParameters{
		Watcher: configured, Env: env, Mux: mux, Revision: "default",
		MultiCluster: multicluster.NewFakeController(), // of no cluster
	})
	return mux, err
}

// configured is what istiod reads from ConfigMaps, and does not change.
type configured struct {
	sidecar *inject.Config
	values  string
	mesh    *meshconfig.MeshConfig
}

func (c configured) SetHandler(func(*inject.Config, string) error) {}
func (c configured) Run(<-chan struct{})                           {}
func (c configured) Get() (*inject.Config, string, error)          { return c.sidecar, c.values, nil }

// configuration renders Istio's own chart, which is a part of the module.
func configuration() (configured, error) {
	var c configured
	sets, _, err := render.GenerateManifest(nil, []string{"profile=default"}, false, nil, nil)
	if err != nil {
		return c, err
	}
	for _, set := range sets {
		for _, m := range set.Manifests {
			data, _ := m.Object["data"].(map[string]any)
			text := func(key string) string { s, _ := data[key].(string); return s }
			switch {
			case m.GetKind() != "ConfigMap":
			case m.GetName() == "istio-sidecar-injector":
				sidecar, err := inject.UnmarshalConfig([]byte(text("config")))
				if err != nil {
					return c, err
				}
				c.sidecar, c.values = &sidecar, text("values")
			case m.GetName() == "istio":
				if c.mesh, err = mesh.ApplyMeshConfig(text("mesh"), mesh.DefaultMeshConfig()); err != nil {
					return c, err
				}
			}
		}
	}
	if c.sidecar == nil || c.mesh == nil {
		return c, errors.New("expected the ConfigMaps istio-sidecar-injector and istio, got others")
	}
	return c, nil
}

// answer returns the patch for a review.
func answer(handler http.Handler, review []byte) ([]byte, error) {
	request := httptest.NewRequest(http.MethodPost, "/inject", bytes.NewReader(review))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &out); err != nil {
		return nil, fmt.Errorf("decoding the answer %.200q: %w", recorder.Body, err)
	}
	if out.Response == nil || !out.Response.Allowed || len(out.Response.Patch) == 0 {
		return nil, fmt.Errorf("expected a patch, got %+v", out.Response)
	}
	return out.Response.Patch, nil
}
