package install

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/command"
)

// Neighbour is a SPIRE with an injector of its own in one namespace, of a kustomization with the component
// manifests/beside.
type Neighbour struct {
	Kustomization string
	Namespace     string // of both
	Served        string // a namespace that the injector serves; it is made if it is not there
}

// Neighbours applies some SPIREs beside what [Platform] has installed, and waits until pods can be injected by each.
func Neighbours(ctx context.Context, env environment.Environment, neighbours []Neighbour, progress io.Writer) error {
	k := env.Client()
	var steps []step
	for _, n := range neighbours { // all first: they start at the same time
		steps = append(steps, step{"applying " + filepath.ToSlash(n.Kustomization), func() error {
			return errors.Join(Apply(ctx, env, n.Kustomization), applyObjects(ctx, env, []unstructured.Unstructured{n.served()}))
		}})
	}
	for _, n := range neighbours {
		steps = append(steps,
			step{"waiting for the SPIRE server of " + n.Namespace, rollout(ctx, k, n.Namespace, "statefulset/spire-server")},
			step{"giving the injector of " + n.Namespace + " an identity of its own", func() error {
				out, err := ServerOf(ctx, k, n.Namespace, "entry", "create", "-data", "/etc/spire/injector-entries.json")
				return unlessThere(out, err)
			}},
			servingCertificate(ctx, env, n.Namespace, n.WebhookConfiguration(), progress),
		)
	}
	for _, n := range neighbours {
		steps = append(steps,
			step{"waiting for the SPIRE agents of " + n.Namespace, rollout(ctx, k, n.Namespace, "daemonset/spire-agent")},
			step{"waiting for the injector of " + n.Namespace, rollout(ctx, k, n.Namespace, "deployment/spire-injector")},
			step{"trying its webhook", func() error { return awaitInjection(ctx, k, n.Served) }},
		)
	}
	return run(progress, steps)
}

// WebhookConfiguration is the name that the component gives to the injector's webhook configurations.
func (n Neighbour) WebhookConfiguration() string { return n.Namespace + "-" + standard }

// CertificateCommand is what people type to make the serving certificate.
func (n Neighbour) CertificateCommand() string {
	return "bin/spire-injector serving-cert --namespace " + n.Namespace + " --webhook-configuration " + n.WebhookConfiguration()
}

func (n Neighbour) served() unstructured.Unstructured {
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": n.Served, "labels": map[string]any{ReleaseLabel: n.Namespace}},
	}}
}

// ServerOf runs the command line of the SPIRE server of a namespace in its pod.
func ServerOf(ctx context.Context, k command.Kubectl, namespace string, args ...string) (string, error) {
	command := append([]string{"--namespace", namespace, "exec", "spire-server-0", "--container", "spire-server", "--", "/opt/spire/bin/spire-server"}, args...)
	return k.Run(ctx, append(command, "-socketPath", "/run/spire/private/api.sock")...)
}
