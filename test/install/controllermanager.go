package install

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

//go:embed controllermanager.yaml
var controllerManager string

// Where spire-controller-manager runs, and where its metrics are.
const (
	ControllerManagerNamespace   = "spire-controller-manager"
	ControllerManagerMetricsPort = 8082
)

// ControllerManager is spire-controller-manager for a cluster. It reaches the SPIRE server by the Unix socket that
// manifests/spire/overlays/unix-socket puts into a directory of the server's node.
type ControllerManager struct {
	env  environment.Environment
	crds string // folder
}

// ControllerManagerSettings are those of its settings that decide which entries it deletes, and when. The names are its
// own.
type ControllerManagerSettings struct {
	EntryIDPrefix        string        // empty: none, and every entry of SPIRE is its own
	EntryIDPrefixCleanup *string       // nil: not set
	GCInterval           time.Duration // zero: its default
	LogPasses            bool          // a line when a pass begins and one when it ends
}

// NewControllerManager brings its image and its API to a cluster. Nothing runs yet.
func NewControllerManager(ctx context.Context, env environment.Environment, progress io.Writer) (ControllerManager, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return ControllerManager{}, err
	}
	archives, crds, err := images.ForControllerManager(ctx, cache, progress)
	if err != nil {
		return ControllerManager{}, err
	}
	if env, err = env.With(ctx, archives, progress); err != nil {
		return ControllerManager{}, err
	}
	m := ControllerManager{env: env, crds: crds}
	return m, run(progress, []step{
		{"applying spire-controller-manager's API", func() error {
			k := env.Client()
			if _, err := k.Run(ctx, "apply", "--server-side", "--filename", crds); err != nil {
				return err
			}
			_, err := k.Run(ctx, "wait", "--for=condition=Established", "--filename", crds, "--timeout", timeout)
			return err
		}},
	})
}

// Start runs it with some settings, in the place of a run with others, and returns when it is ready.
func (m ControllerManager) Start(ctx context.Context, s ControllerManagerSettings, progress io.Writer) error {
	objects, err := s.objects()
	if err != nil {
		return err
	}
	return run(progress, []step{
		{"applying spire-controller-manager", func() error { return applyObjects(ctx, m.env, objects) }},
		{"waiting for spire-controller-manager", rollout(ctx, m.env.Client(), ControllerManagerNamespace, "deployment/spire-controller-manager")},
	})
}

// Stop ends it and returns when its process is gone. What it registered stays.
func (m ControllerManager) Stop(ctx context.Context) error {
	_, err := m.env.Client().Run(ctx, "--namespace", ControllerManagerNamespace, "delete", "deployment/spire-controller-manager",
		"--ignore-not-found", "--cascade=foreground", "--timeout", timeout)
	return err
}

// Uninstall removes it and its API, and with that what users wrote of it. What it registered stays.
func (m ControllerManager) Uninstall(ctx context.Context) error {
	stopped := m.Stop(ctx)
	k := m.env.Client()
	_, api := k.Run(ctx, "delete", "--ignore-not-found", "--filename", m.crds)
	_, rest := k.With(ctx, controllerManager, "delete", "--ignore-not-found", "--wait=false", "-f", "-")
	return errors.Join(stopped, api, rest)
}

// objects are the manifests with settings. The ConfigMap's name has a hash of its content, so that others roll the pod.
func (s ControllerManagerSettings) objects() ([]unstructured.Unstructured, error) {
	config, err := json.Marshal(s.Config())
	if err != nil {
		return nil, err
	}
	objects, err := Decode(controllerManager)
	if err != nil {
		return nil, err
	}
	name := "spire-controller-manager-" + parts.Key(string(config))
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		if err := s.configure(object, name); err != nil {
			return nil, fmt.Errorf("deployment %s: %w", object.GetName(), err)
		}
	}
	return append(objects, unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": ControllerManagerNamespace},
		"data":     map[string]any{"config.json": string(config)},
	}}), nil
}

// Config is its configuration file in a cluster.
func (s ControllerManagerSettings) Config() map[string]any {
	config := map[string]any{
		"apiVersion":            "spire.spiffe.io/v1alpha1",
		"kind":                  "ControllerManagerConfig",
		"clusterName":           "demo-cluster",
		"clusterDomain":         "cluster.local",
		"trustDomain":           "example.org",
		"ignoreNamespaces":      []string{"^kube-system$", "^spire$", "^spire-injector$", "^" + ControllerManagerNamespace + "$"},
		"spireServerSocketPath": "/run/spire/private/api.sock",
		"logEncoding":           "json",
		"metrics":               map[string]string{"bindAddress": fmt.Sprintf(":%d", ControllerManagerMetricsPort)},
		"health":                map[string]string{"healthProbeBindAddress": ":8083"},
		// In nanoseconds: v0.7.0 refuses the "10s" of its documentation.
		"gcInterval": s.GCInterval,
	}
	if s.EntryIDPrefix != "" {
		config["entryIDPrefix"] = s.EntryIDPrefix
	}
	if s.EntryIDPrefixCleanup != nil {
		config["entryIDPrefixCleanup"] = *s.EntryIDPrefixCleanup
	}
	return config
}

// configure makes a Deployment read a ConfigMap, and log as the settings say.
func (s ControllerManagerSettings) configure(deployment unstructured.Unstructured, configMap string) error {
	volumes, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "volumes")
	if err != nil || len(volumes) == 0 {
		return errors.Join(err, errors.New("expected volumes, the first of them the configuration"))
	}
	volumes[0].(map[string]any)["configMap"] = map[string]any{"name": configMap}
	if err := unstructured.SetNestedSlice(deployment.Object, volumes, "spec", "template", "spec", "volumes"); err != nil {
		return err
	}
	if !s.LogPasses {
		return nil
	}
	containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		return errors.Join(err, fmt.Errorf("expected one container, got %d", len(containers)))
	}
	container := containers[0].(map[string]any)
	container["args"] = append(container["args"].([]any), "--zap-log-level=2")
	return unstructured.SetNestedSlice(deployment.Object, containers, "spec", "template", "spec", "containers")
}
