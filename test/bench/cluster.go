package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/images"
	"github.com/spire-injector/spire-injector/test/install"
)

// What the manifests call them.
const (
	platformFolder = "manifests/demo/api/platform"
	sampleImage    = images.Sample
	podToolImage   = images.PodTool
	envoyImage     = "envoyproxy/envoy:v1.40.0"
	trustDomain    = "example.org"
)

// poll is the time between two looks at what is waited for but not measured.
const poll = 100 * time.Millisecond

// cluster is a cluster that has the platform of the demo.
type cluster struct {
	env      environment.Environment
	kubectl  command.Kubectl
	client   *kubernetes.Clientset
	progress io.Writer
	istio    string // the folder of the process of Istio's webhook in the kernel's tables, where it runs
}

// openCluster provides the cluster, SPIRE and the injector.
func openCluster(ctx context.Context, progress io.Writer) (*cluster, error) {
	root, err := parts.Root()
	if err != nil {
		return nil, err
	}
	env, err := environment.Prepare(ctx, progress)
	if err != nil {
		return nil, err
	}
	if err := install.Platform(ctx, env, filepath.Join(root, filepath.FromSlash(platformFolder)), progress); err != nil {
		return nil, fmt.Errorf("installing SPIRE and the injector: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", env.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", env.Kubeconfig, err)
	}
	config.QPS = -1 // no throttle on our side
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{env: env, kubectl: env.Client(), client: client, progress: progress}, nil
}

// softwareVersions are those of the cluster.
type softwareVersions struct {
	Kubernetes string `json:"kubernetes,omitempty"`
	Envoy      string `json:"envoy"` // image
	Nodes      int    `json:"nodes,omitempty"`
}

func (c *cluster) versions(ctx context.Context) *softwareVersions {
	v := &softwareVersions{Envoy: envoyImage}
	if server, err := c.client.Discovery().ServerVersion(); err == nil {
		v.Kubernetes = server.GitVersion
	}
	if nodes, err := c.client.CoreV1().Nodes().List(ctx, listAll); err == nil {
		v.Nodes = len(nodes.Items)
	}
	return v
}

func (c *cluster) tell(format string, args ...any) {
	fmt.Fprintf(c.progress, "  "+format+"\n", args...)
}
