package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Versions of what is not pinned by a go.sum of test/tools, and of the modules there whose version shows in a file
// name, a flag or an image name. A test compares the latter with the go.mod files.
const (
	KubernetesVersion = "v1.37.2"
	CoreDNSVersion    = "v1.12.4"
	EtcdVersion       = "v3.7.0"
	CNIVersion        = "v1.9.1"
	SPIREVersion      = "v1.15.3"
	EnvoyVersion      = "1.40.0"

	CertManagerVersion       = "v1.21.2"
	SPIFFECSIVersion         = "v0.2.3"
	PrometheusVersion        = "v0.305.0" // of its Go module: Prometheus 3.5
	ControllerManagerVersion = "v0.7.0"
	HelmVersion              = "v4.3.1"
	KubeRouterVersion        = "v2.1.0"
	// IstioVersion is of its Go module, which follows its release branches without their tags.
	IstioVersion = "v0.0.0-20260827124520-eed52ebb66ad"
)

// Programs are the paths of everything that [Ensure] provides.
type Programs struct {
	Kubernetes  string // folder with kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl
	CoreDNS     string
	Etcd        string
	CNI         string // folder with bridge, loopback, host-local, portmap
	SPIREServer string
	SPIREAgent  string
	Envoy       string // needs its loader and libraries, which come from this machine
	System      System
}

// Kubectl is the path of kubectl, in the scope [ForCluster].
func (p Programs) Kubectl() string { return filepath.Join(p.Kubernetes, "kubectl") }

// part is one folder of the cache: a thing in one version.
type part struct {
	what    string // for people: "kube-apiserver, kubelet and kubectl"
	dir     string
	produce func(ctx context.Context, stage string) error
}

// Scope is how much of [Programs] is wanted.
type Scope int

const (
	// ForCluster is everything.
	ForCluster Scope = iota
	// ForImages leaves out what only a cluster on this machine needs: the Kubernetes programs, etcd, CoreDNS and the
	// network plugins.
	ForImages
	// ForEnvoy is Envoy alone: all that tests of its configuration need.
	ForEnvoy
)

// Ensure provides the programs of a scope, building or fetching those that the cache lacks and saying so on
// progress. Runs that overlap wait for each other.
func Ensure(ctx context.Context, cache Cache, scope Scope, progress io.Writer) (Programs, error) {
	root, err := Root()
	if err != nil {
		return Programs{}, err
	}
	programs, wanted, err := plan(ctx, cache, root, scope)
	if err != nil {
		return Programs{}, err
	}
	return programs, provide(ctx, cache, wanted, progress)
}

// provide makes those parts that the cache lacks.
func provide(ctx context.Context, cache Cache, wanted []part, progress io.Writer) error {
	if len(missing(wanted)) == 0 {
		return nil
	}
	unlock, err := cache.Lock(ctx, "build", progress)
	if err != nil {
		return err
	}
	defer unlock()
	if err := cache.sweep(); err != nil {
		return err
	}
	todo := missing(wanted) // again: whoever held the lock may have made them
	steps := steps{w: progress, total: len(todo), interval: tellEvery}
	for _, p := range todo {
		err := steps.run(p.what, func() error {
			return cache.produce(p.dir, func(stage string) error { return p.produce(ctx, stage) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func missing(wanted []part) []part {
	var out []part
	for _, p := range wanted {
		if !exists(p.dir) {
			out = append(out, p)
		}
	}
	return out
}

// plan lists the parts and where they are, or will be.
func plan(ctx context.Context, cache Cache, root string, scope Scope) (Programs, []part, error) {
	envoy := envoyPart(cache)
	if scope == ForEnvoy {
		return Programs{Envoy: filepath.Join(envoy.dir, "envoy")}, []part{envoy}, nil
	}
	kubernetes, err := openModule(ctx, filepath.Join(root, "test/tools/kubernetes"))
	if err != nil {
		return Programs{}, nil, err
	}
	spire, err := openModule(ctx, filepath.Join(root, "test/tools/spire"))
	if err != nil {
		return Programs{}, nil, err
	}
	var wanted []part
	add := func(p part) string {
		wanted = append(wanted, p)
		return p.dir
	}
	var programs Programs
	system, systemPart, err := planSystem(cache)
	if err != nil {
		return Programs{}, nil, err
	}
	programs.System = system
	if systemPart != nil {
		add(*systemPart)
	}
	if scope == ForCluster {
		programs.Kubernetes = add(kubernetes.part(cache, "kubernetes", KubernetesVersion, hyperkube))
		programs.CoreDNS = filepath.Join(add(kubernetes.part(cache, "coredns", CoreDNSVersion, coreDNS)), "coredns")
		programs.Etcd = filepath.Join(add(kubernetes.part(cache, "etcd", EtcdVersion, etcd)), "etcd")
		programs.CNI = add(kubernetes.part(cache, "cni", CNIVersion, cni))
	}
	programs.SPIREServer = filepath.Join(add(spire.part(cache, "spire-server", SPIREVersion, spireProgram("cmd/spire-server"))), "spire-server")
	programs.SPIREAgent = filepath.Join(add(spire.part(cache, "spire-agent", SPIREVersion, spireProgram("cmd/spire-agent"))), "spire-agent")
	programs.Envoy = filepath.Join(add(envoy), "envoy")
	return programs, wanted, nil
}

// linkNames makes symbolic links in dir from each name to target, a file in the same folder.
func linkNames(dir, target string, names ...string) error {
	for _, name := range names {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("name %s as %s: %w", target, name, err)
		}
	}
	return nil
}

// Locate returns where the programs are, or will be, and provides nothing.
func Locate(ctx context.Context, cache Cache) (Programs, error) {
	root, err := Root()
	if err != nil {
		return Programs{}, err
	}
	programs, _, err := plan(ctx, cache, root, ForCluster)
	return programs, err
}
