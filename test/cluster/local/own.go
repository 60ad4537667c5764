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
