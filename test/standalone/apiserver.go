package standalone

import (
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// APIServer is a Kubernetes API server with etcd, yet to be started, of the programs that the test cluster runs: there
// are no controllers and no kubelets, and pods need no service account.
func APIServer(programs parts.Programs) *envtest.Environment {
	environment := &envtest.Environment{
		UseExistingCluster:       new(bool),
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	environment.ControlPlane.Etcd = &envtest.Etcd{Path: programs.Etcd}
	environment.ControlPlane.GetAPIServer().Path = filepath.Join(programs.Kubernetes, "kube-apiserver")
	return environment
}
