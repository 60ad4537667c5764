package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

// Options say which cluster.
type Options struct {
	Name     string           // DefaultName if empty
	Shape                     // what of it is zero is as the cluster has it, or one node and IPv4 alone
	Cache    parts.Cache      // the user's if its Dir is empty
	Programs parts.Programs   // fetched or built if empty
	Images   []images.Archive // loaded beside the cluster's own; those loaded before are loaded again only if they changed
	Progress io.Writer        // for people; nothing is told if nil
}

// Info is how to reach a cluster.
type Info struct {
	Name string `json:"name"`
	Shape
	Kubeconfig string `json:"kubeconfig"`
	Kubectl    string `json:"kubectl"`
	// Logs is the folder with the daemons' logs, one file each.
	Logs string `json:"logs"`
}

// cluster is one cluster's names, files and programs, whether it is up or not.
type cluster struct {
	names
	layout
	cache    parts.Cache
	programs parts.Programs
	cgroups  cgroups
	Shape    // set by shaped
	progress io.Writer
}

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Cache.Dir == "" {
		cache, err := parts.UserCache()
		if err != nil {
			return err
		}
		o.Cache = cache
	}
	return nil
}

func open(o Options) (cluster, error) {
	n, err := namesOf(o.Name)
	if err != nil {
		return cluster{}, err
	}
	if os.Geteuid() != 0 {
		return cluster{}, errors.New("the test cluster needs root, for namespaces, mounts and cgroups: run this with `sudo -E env PATH=$PATH`, " +
			"or set KUBECONFIG to use a cluster that you have")
	}
	groups, err := cgroupsOf(n)
	if err != nil {
		return cluster{}, err
	}
	return cluster{names: n, layout: layoutOf(o.Cache, o.Name), cache: o.Cache, programs: o.Programs, cgroups: groups, progress: o.Progress}, nil
}

// lock excludes other runs that change the same cluster.
func (c cluster) lock(ctx context.Context) (unlock func(), err error) {
	return c.cache.Lock(ctx, "cluster-"+c.cluster, c.progress)
}

func (c cluster) info() Info {
	return Info{Name: c.cluster, Shape: c.Shape, Kubeconfig: c.kubeconfig(), Kubectl: c.programs.Kubectl(), Logs: c.daemonLogFolder()}
}

func (c cluster) say(format string, args ...any) {
	fmt.Fprintf(c.progress, format+"\n", args...)
}
