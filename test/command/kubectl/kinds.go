package kubectl

import (
	"fmt"
	"sync"
	"sync/atomic"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
)

// kinds are those that the API servers of kubeconfigs have, which each command would ask for or read from files.
var kinds struct {
	sync.Mutex
	of map[string]discovery.CachedDiscoveryInterface
}

func kindsOf(kubeconfig string) (discovery.CachedDiscoveryInterface, error) {
	kinds.Lock()
	defer kinds.Unlock()
	if known, ok := kinds.of[kubeconfig]; ok {
		return known, nil
	}
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = &kubeconfig
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", kubeconfig, err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	if kinds.of == nil {
		kinds.of = map[string]discovery.CachedDiscoveryInterface{}
	}
	kinds.of[kubeconfig] = memory.NewMemCacheClient(client)
	return kinds.of[kubeconfig], nil
}

// remembered are the kinds as one command finds them: it asks the server once for what it does not find, since a kind may
// have come after the others were remembered.
type remembered struct {
	discovery.CachedDiscoveryInterface
	asked atomic.Bool
}

func (r *remembered) Fresh() bool { return r.asked.Load() }

func (r *remembered) Invalidate() {
	r.asked.Store(true)
	r.CachedDiscoveryInterface.Invalidate()
}
