package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

// SPIREMetricsPort is where [MeasuredSPIRE] has the SPIRE server's metrics.
const SPIREMetricsPort = 9988

// SPIRE puts SPIRE on a cluster from a kustomization and waits for it.
func SPIRE(ctx context.Context, env environment.Environment, kustomization string, progress io.Writer) error {
	return spire(ctx, env, kustomization, func([]unstructured.Unstructured) error { return nil }, progress)
}

// MeasuredSPIRE is [SPIRE] with a server that counts the calls it gets.
func MeasuredSPIRE(ctx context.Context, env environment.Environment, kustomization string, progress io.Writer) error {
	return spire(ctx, env, kustomization, withTelemetry, progress)
}

func spire(ctx context.Context, env environment.Environment, kustomization string, edit func([]unstructured.Unstructured) error, progress io.Writer) error {
	k := env.Client()
	return run(progress, []step{
		{"applying " + filepath.ToSlash(kustomization), func() error {
			manifests, err := k.Run(ctx, "kustomize", kustomization)
			if err != nil {
				return err
			}
			objects, err := Decode(manifests)
			if err == nil {
				err = edit(objects)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", kustomization, err)
			}
			return applyObjects(ctx, env, objects)
		}},
		{"waiting for the SPIRE server", rollout(ctx, k, "spire", "statefulset/spire-server")},
		{"waiting for the SPIRE agents", rollout(ctx, k, "spire", "daemonset/spire-agent")},
	})
}

// withTelemetry makes the server publish metrics. Its configuration gets another name, so that the server restarts.
func withTelemetry(objects []unstructured.Unstructured) error {
	var from, to string
	for _, object := range objects {
		if object.GetKind() != "ConfigMap" || !strings.HasPrefix(object.GetName(), "spire-server-") {
			continue
		}
		config, found, err := unstructured.NestedString(object.Object, "data", "server.conf")
		if err != nil || !found {
			return errors.Join(err, fmt.Errorf("expected server.conf in ConfigMap %s", object.GetName()))
		}
		config += fmt.Sprintf("\ntelemetry {\n  Prometheus {\n    host = \"0.0.0.0\"\n    port = %d\n  }\n}\n", SPIREMetricsPort)
		if err := unstructured.SetNestedField(object.Object, config, "data", "server.conf"); err != nil {
			return err
		}
		from, to = object.GetName(), object.GetName()+"-measured"
		object.SetName(to)
	}
	for _, object := range objects {
		if object.GetKind() == "StatefulSet" && from != "" && readsFrom(object, from, to) {
			return nil
		}
	}
	return errors.New("expected a ConfigMap spire-server-… with the server's configuration, and a StatefulSet that reads it")
}

// readsFrom replaces the ConfigMap of a workload's volume, and says whether there was one.
func readsFrom(object unstructured.Unstructured, from, to string) bool {
	volumes, _, err := unstructured.NestedFieldNoCopy(object.Object, "spec", "template", "spec", "volumes")
	list, _ := volumes.([]any)
	for _, volume := range list {
		v, _ := volume.(map[string]any)
		if c, _ := v["configMap"].(map[string]any); err == nil && c["name"] == from {
			c["name"] = to
			return true
		}
	}
	return false
}
