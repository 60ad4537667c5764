package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// bareCluster is an API server and nodes without machines: pods are objects, and nothing runs them. Whatever else is at
// work are processes of this machine.
type bareCluster struct {
	*cluster    // of which the API is there, and nothing else
	api         client.Client
	environment *envtest.Environment
	dir         string // for what the processes read and keep
	programs    parts.Programs
	manager     parts.ControllerManager
	injector    string
	agents      []*corev1.Pod // one for each node
	ports       standalone.Ports
}

// bareNodes is how many nodes there are.
const bareNodes = 2

// What manifests/spire call them, and spire-injector's namespace.
const (
	spireNamespace    = "spire"
	agentAccount      = "spire-agent"
	injectorNamespace = "spire-injector"
)

// withBareCluster runs use while a bare cluster is there.
func withBareCluster(ctx context.Context, progress io.Writer, use func(*bareCluster) error) (err error) {
	b := &bareCluster{}
	if err := b.provide(ctx, progress); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench-identities-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	log.SetLogger(logr.Discard()) // of what starts the API server
	b.environment = standalone.APIServer(b.programs)
	b.environment.CRDDirectoryPaths = []string{b.manager.CRDs}
	config, err := b.environment.Start()
	if err != nil {
		return fmt.Errorf("starting the API server: %w", err)
	}
	defer func() { err = errors.Join(err, b.environment.Stop()) }()
	config.QPS = -1 // no throttle on our side
	if b.api, err = client.New(config, client.Options{}); err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	b.cluster = &cluster{client: clientset, progress: progress}
	if err := os.WriteFile(b.kubeconfig(), b.environment.KubeConfig, 0o600); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	return use(b)
}

// provide builds the programs that the cache lacks.
func (b *bareCluster) provide(ctx context.Context, progress io.Writer) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	if b.programs, err = parts.Ensure(ctx, cache, parts.ForCluster, progress); err != nil {
		return err
	}
	if b.manager, err = parts.EnsureControllerManager(ctx, cache, progress); err != nil {
		return err
	}
	b.injector, err = parts.BuildOwn(ctx, cache, "./cmd/spire-injector", progress)
	return err
}

func (b *bareCluster) kubeconfig() string { return filepath.Join(b.dir, "kubeconfig") }

// fill makes the nodes with a pod for the agent of each, and what the injector is called by.
func (b *bareCluster) fill(ctx context.Context) error {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: spireNamespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: injectorNamespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: agentAccount, Namespace: spireNamespace}},
		// The API server reaches it as in a cluster, but for the address.
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "spire-injector", Namespace: injectorNamespace},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
		},
	}
	for i := range bareNodes {
		name := nodeName(i)
		b.agents = append(b.agents, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "spire-agent-" + name, Namespace: spireNamespace},
			Spec: corev1.PodSpec{
				NodeName:           name,
				ServiceAccountName: agentAccount,
				Containers:         []corev1.Container{{Name: "spire-agent", Image: "ghcr.io/spiffe/spire-agent"}},
			},
		})
		objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, b.agents[i])
	}
	for _, o := range objects {
		if err := b.api.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// agentToken is what the kubelet would give the agent of a node, to prove to SPIRE where it runs.
func (b *bareCluster) agentToken(ctx context.Context, node int) (string, error) {
	pod := b.agents[node]
	issued, err := b.client.CoreV1().ServiceAccounts(spireNamespace).CreateToken(ctx, agentAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:      []string{"spire-server"},
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for the token of pod %s: %w", pod.Name, err)
	}
	return issued.Status.Token, nil
}
