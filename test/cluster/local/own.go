package local

import (
	"path/filepath"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// NameOf returns which local cluster a kubeconfig file belongs to, or false if it is another cluster's.
func NameOf(cache parts.Cache, kubeconfig string) (name string, ok bool) {
	path, err := filepath.Abs(kubeconfig)
	if err != nil {
		return "", false
	}
	name = filepath.Base(filepath.Dir(path))
	return name, path == layoutOf(cache, name).kubeconfig() && validName.MatchString(name)
}

// Link returns the name of the network interface on this machine that leads to a cluster.
func Link(cluster string) (string, error) {
	n, err := namesOf(cluster)
	return n.outside, err
}
