package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/test/standalone"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// contender is a program that registers the pods of a bare cluster. All of them get the same pods.
type contender struct {
	name string
	// entries is how many it makes for pods of some accounts, placed times an account on another node.
	entries func(pods, accounts, placed int) int
	// row is the ID of the entry that gives a pod's identity to the agent of the node with a UID; nil: it makes no rows.
	row func(pod *corev1.Pod, node types.UID) string
	// prepare makes the objects that it needs for a namespace, and returns them with its command line.
	prepare func(ctx context.Context, b *bareCluster, s *bareSPIRE, namespace string) (commandLine, []client.Object, error)
}

// commandLine starts a program.
type commandLine struct {
	program   string
	arguments []string
	variables []string // NAME=VALUE, beside those of this program and KUBECONFIG
}

// bareRegistrar names the entries of a bare cluster.
var bareRegistrar = registrar.Cluster{Name: bareClusterName}

func contenders() []contender {
	return []contender{
		{
			name:    "spire-injector",
			entries: func(_, accounts, placed int) int { return accounts + placed },
			row: func(pod *corev1.Pod, node types.UID) string {
				return bareRegistrar.NodeRow(pod.Labels[registrar.IdentityLabel], string(node)).ID
			},
			prepare: injectorOf("node"),
		},
		{
			name:    "spire-injector, entryScope: cluster",
			entries: func(_, accounts, _ int) int { return 2 * accounts },
			row: func(pod *corev1.Pod, _ types.UID) string {
				return bareRegistrar.ClusterRow(pod.Labels[registrar.IdentityLabel]).ID
			},
			prepare: injectorOf("cluster"),
		},
		{
			name:    "spire-controller-manager",
			entries: func(pods, _, _ int) int { return pods },
			prepare: managerOf,
		},
	}
}

// run runs use while the contender is at work for the pods of a namespace.
func (c contender) run(ctx context.Context, b *bareCluster, s *bareSPIRE, namespace string, use func(*standalone.Process) error) (err error) {
	line, objects, err := c.prepare(ctx, b, s, namespace)
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		for _, o := range objects {
			err = errors.Join(err, client.IgnoreNotFound(b.api.Delete(tidying, o)))
		}
	}()
	if err != nil {
		return err
	}
	process, err := standalone.StartWith(append(line.variables, "KUBECONFIG="+b.kubeconfig()), line.program, line.arguments...)
	if err != nil {
		return err
	}
	defer process.Stop()
	if err := use(process); err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(process.Out.String()))
	}
	return nil
}

// lastLines are the end of what a program has said.
func lastLines(text string) string { return text[max(0, len(text)-4000):] }

// injectorOf is the injector with a scope of rows, as overlay unix-socket has it.
func injectorOf(scope string) func(context.Context, *bareCluster, *bareSPIRE, string) (commandLine, []client.Object, error) {
	return func(ctx context.Context, b *bareCluster, s *bareSPIRE, namespace string) (commandLine, []client.Object, error) {
		root, err := parts.Root()
		if err != nil {
			return commandLine{}, nil, err
		}
		manifests := filepath.Join(root, "manifests", "injector")
		file := filepath.Join(s.dir, "config.yaml")
		if err := writePlatform(filepath.Join(manifests, "overlays", "unix-socket", "config.yaml"), file, s.Socket, scope); err != nil {
			return commandLine{}, nil, err
		}
		port, err := b.ports.Free(ctx)
		if err != nil {
			return commandLine{}, nil, err
		}
		webhook, err := b.registerInjector(ctx, filepath.Join(manifests, "base", "webhook.yaml"), port)
		if err != nil {
			return commandLine{}, webhook, err
		}
		return commandLine{program: b.injector, arguments: []string{
			"serve", "--config", file, "--namespace", injectorNamespace, "--webhook-port", strconv.Itoa(int(port)),
			"--metrics-address", "0", "--health-address", "0", "--leader-election-lease", namespace,
		}}, webhook, nil
	}
}

// writePlatform writes a platform file with another address of SPIRE and a scope.
func writePlatform(from, to, socket, scope string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var platform map[string]any
	if err := yaml.Unmarshal(text, &platform); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	for path, value := range map[[2]string]any{{"spire", "server"}: map[string]any{"address": "unix://" + socket}, {"spire", "entryScope"}: scope} {
		if err := unstructured.SetNestedField(platform, value, path[:]...); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	if text, err = yaml.Marshal(platform); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// registerInjector makes the API server call the injector at a port of this machine, with a certificate that it trusts.
func (b *bareCluster) registerInjector(ctx context.Context, manifest string, port uint16) ([]client.Object, error) {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return nil, err
	}
	objects, err := install.Decode(string(text))
	if err != nil || len(objects) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%s: expected one object, got %d", manifest, len(objects)))
	}
	webhooks, _, err := unstructured.NestedSlice(objects[0].Object, "webhooks")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifest, err)
	}
	for _, w := range webhooks {
		if err := unstructured.SetNestedField(w.(map[string]any), int64(port), "clientConfig", "service", "port"); err != nil {
			return nil, fmt.Errorf("%s: %w", manifest, err)
		}
	}
	if err := unstructured.SetNestedSlice(objects[0].Object, webhooks, "webhooks"); err != nil {
		return nil, err
	}
	if err := b.api.Create(ctx, &objects[0]); err != nil {
		return nil, err
	}
	_, err = servingcert.Issue{
		Client: b.api,
		Source: servingcert.Source{
			Secret:        types.NamespacedName{Namespace: injectorNamespace, Name: "spire-injector-serving-cert"},
			Configuration: objects[0].GetName(),
		},
		Host:  "spire-injector." + injectorNamespace + ".svc",
		Valid: 2 * servingcert.RenewBefore,
	}.Do(ctx, time.Now())
	return []client.Object{&objects[0]}, err
}

// managerOf is spire-controller-manager as the charts run it.
func managerOf(ctx context.Context, b *bareCluster, s *bareSPIRE, namespace string) (commandLine, []client.Object, error) {
	config := install.ControllerManagerSettings{EntryIDPrefix: bareClusterName}.Config()
	config["spireServerSocketPath"] = s.Socket
	config["metrics"] = map[string]string{"bindAddress": "0"}
	config["health"] = map[string]string{"healthProbeBindAddress": "0"}
	text, err := json.Marshal(config)
	if err != nil {
		return commandLine{}, nil, err
	}
	file := filepath.Join(s.dir, "controller-manager.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return commandLine{}, nil, err
	}
	// By the injector's label, whose webhook is not registered now.
	manifest, err := clusterSPIFFEID(namespace, intent.LabelInject, intent.InjectEnabled)
	if err != nil {
		return commandLine{}, nil, err
	}
	objects, err := install.Decode(manifest)
	if err != nil {
		return commandLine{}, nil, err
	}
	if err := b.api.Create(ctx, &objects[0]); err != nil {
		return commandLine{}, nil, err
	}
	return commandLine{
		program:   b.manager.Program,
		arguments: []string{"--config", file},
		variables: []string{"ENABLE_WEBHOOKS=false"},
	}, []client.Object{&objects[0]}, nil
}
