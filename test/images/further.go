package images

import (
	"context"
	"fmt"
	"io"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// Names of images that single tests use, as manifests use them.
const (
	CertManager  = "spire-injector/cert-manager:1.21.2"
	CSIDriver    = "spiffe/spiffe-csi-driver:0.2.3"
	CSIRegistrar = "sig-storage/csi-node-driver-registrar:v2.14.0" // a registrar of ours under the published one's name

	OIDCDiscoveryProvider = "spiffe/oidc-discovery-provider:1.15.3"

	ControllerManager = "spiffe/spire-controller-manager:0.7.0"

	InjectorBefore = "spire-injector/spire-injector:before"

	EnvoyAgain = "envoyproxy/envoy:again" // what is in Envoy, under another name

	PostgreSQL = "spire-injector/postgresql:1" // of whatever version the distribution of the machine has
)

// ForCertManager returns the archive of cert-manager, and the folder of its CustomResourceDefinitions.
func ForCertManager(ctx context.Context, cache parts.Cache, progress io.Writer) (archives []Archive, crds string, err error) {
	certManager, err := parts.EnsureCertManager(ctx, cache, progress)
	if err != nil {
		return nil, "", err
	}
	archives, err = writeAll(ctx, cache, []Image{ownImage(CertManager, "/certmanager", certManager.Program)})
	return archives, certManager.CRDs, err
}

// ForCSI returns the archives of the SPIFFE CSI driver. Its containers run as root: one mounts, the other writes into
// the kubelet's folder.
func ForCSI(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, error) {
	programs, err := parts.EnsureCSI(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	return writeAll(ctx, cache, []Image{
		rootImage(CSIDriver, "/spiffe-csi-driver", programs.Driver),
		rootImage(CSIRegistrar, "/csi-node-driver-registrar", programs.Registrar),
	})
}

// ForControllerManager returns the archive of spire-controller-manager, and the folder of its
// CustomResourceDefinitions.
func ForControllerManager(ctx context.Context, cache parts.Cache, progress io.Writer) (archives []Archive, crds string, err error) {
	manager, err := parts.EnsureControllerManager(ctx, cache, progress)
	if err != nil {
		return nil, "", err
	}
	archives, err = writeAll(ctx, cache, []Image{ownImage(ControllerManager, "/spire-controller-manager", manager.Program)})
	return archives, manager.CRDs, err
}

// ForOIDC returns the archive of SPIRE's OIDC discovery provider.
func ForOIDC(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, error) {
	program, err := parts.EnsureOIDCDiscoveryProvider(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	return writeAll(ctx, cache, []Image{ownImage(OIDCDiscoveryProvider, "/opt/spire/bin/oidc-discovery-provider", program)})
}

func rootImage(name, path, program string) Image {
	return Image{Name: name, Entries: []Entry{{Path: path, Source: program}}, Entrypoint: []string{path}}
}

// ForUpgrade returns the archive of the injector's version before the working tree's, under the name [InjectorBefore],
// and the project's sources of then.
func ForUpgrade(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, parts.Sources, error) {
	const injector = "./cmd/spire-injector"
	before, err := parts.Previous(ctx, cache, injector, progress)
	if err != nil {
		return nil, parts.Sources{}, err
	}
	program, err := parts.BuildPrevious(ctx, cache, before, injector, progress)
	if err != nil {
		return nil, parts.Sources{}, fmt.Errorf("commit %s: %w", before.Commit, err)
	}
	archives, err := writeAll(ctx, cache, []Image{ownImage(InjectorBefore, "/spire-injector", program)})
	return archives, before, err
}

// ForEnvoyAgain returns the archive of [EnvoyAgain].
func ForEnvoyAgain(ctx context.Context, cache parts.Cache, progress io.Writer) ([]Archive, error) {
	programs, err := parts.Ensure(ctx, cache, parts.ForEnvoy, progress)
	if err != nil {
		return nil, err
	}
	image, err := envoyImage(programs.Envoy)
	if err != nil {
		return nil, err
	}
	image.Name = EnvoyAgain
	return writeAll(ctx, cache, []Image{image})
}
