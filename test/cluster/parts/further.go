package parts

import (
	"context"
	"io"
	"path/filepath"
)

// Further programs are for single tests: nothing else waits for them to be built.

// CertManager is cert-manager: its controllers in one program, and its API.
type CertManager struct {
	Program string
	CRDs    string // folder of the CustomResourceDefinitions of cert-manager.io
}

// EnsureCertManager provides cert-manager as [Ensure] provides the programs of a scope.
func EnsureCertManager(ctx context.Context, cache Cache, progress io.Writer) (CertManager, error) {
	p, err := modulePart(ctx, cache, "certmanager", CertManagerVersion, recipe{
		what:     "building cert-manager",
		packages: []string{"."},
		flags:    []string{"-ldflags", strip},
		data:     dataFiles{module: "github.com/cert-manager/cert-manager", pattern: "deploy/crds/cert-manager.io_*.yaml", folder: "crds"},
	})
	if err != nil {
		return CertManager{}, err
	}
	out := CertManager{Program: filepath.Join(p.dir, "certmanager"), CRDs: filepath.Join(p.dir, "crds")}
	return out, provide(ctx, cache, []part{p}, progress)
}

// CSI is the SPIFFE CSI driver, and who tells the kubelet of it.
type CSI struct {
	Driver    string
	Registrar string
}

// EnsureCSI provides the CSI driver as [Ensure] provides the programs of a scope.
func EnsureCSI(ctx context.Context, cache Cache, progress io.Writer) (CSI, error) {
	p, err := modulePart(ctx, cache, "csi", SPIFFECSIVersion, recipe{
		what:     "building the SPIFFE CSI driver",
		packages: []string{"./registrar", "github.com/spiffe/spiffe-csi/cmd/spiffe-csi-driver"},
		flags:    []string{"-ldflags", strip},
	})
	if err != nil {
		return CSI{}, err
	}
	out := CSI{Driver: filepath.Join(p.dir, "spiffe-csi-driver"), Registrar: filepath.Join(p.dir, "registrar")}
	return out, provide(ctx, cache, []part{p}, progress)
}

// Promtool is Prometheus' promtool, and a program that tells which metrics an expression reads.
type Promtool struct {
	Promtool    string
	Expressions string
}

// EnsurePromtool provides promtool as [Ensure] provides the programs of a scope.
func EnsurePromtool(ctx context.Context, cache Cache, progress io.Writer) (Promtool, error) {
	p, err := modulePart(ctx, cache, "promtool", PrometheusVersion, recipe{
		what:     "building promtool",
		packages: []string{"./expressions", "github.com/prometheus/prometheus/cmd/promtool"},
		flags:    []string{"-ldflags", strip},
	})
	if err != nil {
		return Promtool{}, err
	}
	out := Promtool{Promtool: filepath.Join(p.dir, "promtool"), Expressions: filepath.Join(p.dir, "expressions")}
	return out, provide(ctx, cache, []part{p}, progress)
}

// EnsureHelm provides Helm as [Ensure] provides the programs of a scope, and returns its path.
func EnsureHelm(ctx context.Context, cache Cache, progress io.Writer) (string, error) {
	p, err := modulePart(ctx, cache, "helm", HelmVersion, recipe{
		what:     "building helm",
		packages: []string{"helm.sh/helm/v4/cmd/helm"},
		flags:    []string{"-ldflags", strip + " -X helm.sh/helm/v4/internal/version.version=" + HelmVersion},
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(p.dir, "helm"), provide(ctx, cache, []part{p}, progress)
}

// EnsureIstio provides a program that answers as Istio's injection does, as [Ensure] provides the programs of a scope,
// and returns its path.
func EnsureIstio(ctx context.Context, cache Cache, progress io.Writer) (string, error) {
	p, err := modulePart(ctx, cache, "istio", IstioVersion, recipe{
		what:     "building Istio's injection",
		packages: []string{"."},
		flags:    []string{"-trimpath", "-ldflags", strip},
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(p.dir, "istio"), provide(ctx, cache, []part{p}, progress)
}

// ControllerManager is spire-controller-manager and its API.
type ControllerManager struct {
	Program string
	CRDs    string // folder of the CustomResourceDefinitions of spire.spiffe.io
}

// EnsureControllerManager provides spire-controller-manager as [Ensure] provides the programs of a scope.
func EnsureControllerManager(ctx context.Context, cache Cache, progress io.Writer) (ControllerManager, error) {
	const module = "github.com/spiffe/spire-controller-manager"
	p, err := modulePart(ctx, cache, "spirecontrollermanager", ControllerManagerVersion, recipe{
		what:     "building spire-controller-manager",
		packages: []string{module + "/cmd"},
		flags:    []string{"-ldflags", strip},
		data:     dataFiles{module: module, pattern: "config/crd/bases/spire.spiffe.io_cluster*.yaml", folder: "crds"},
	})
	if err != nil {
		return ControllerManager{}, err
	}
	// The go command names the program by its package.
	out := ControllerManager{Program: filepath.Join(p.dir, "cmd"), CRDs: filepath.Join(p.dir, "crds")}
	return out, provide(ctx, cache, []part{p}, progress)
}

// EnsureOIDCDiscoveryProvider provides SPIRE's OIDC discovery provider as [Ensure] provides the programs of a scope,
// and returns its path.
func EnsureOIDCDiscoveryProvider(ctx context.Context, cache Cache, progress io.Writer) (string, error) {
	const name = "oidc-discovery-provider"
	root, err := Root()
	if err != nil {
		return "", err
	}
	spire, err := openModule(ctx, filepath.Join(root, "test/tools/spire"))
	if err != nil {
		return "", err
	}
	p := spire.part(cache, name, SPIREVersion, spireProgram("support/"+name))
	return filepath.Join(p.dir, name), provide(ctx, cache, []part{p}, progress)
}

// modulePart is a part that comes out of the module of its name.
func modulePart(ctx context.Context, cache Cache, name, version string, r recipe) (part, error) {
	root, err := Root()
	if err != nil {
		return part{}, err
	}
	m, err := openModule(ctx, filepath.Join(root, "test/tools", name))
	if err != nil {
		return part{}, err
	}
	return m.part(cache, name, version, r), nil
}
