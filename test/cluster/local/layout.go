package local

import (
	"path/filepath"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// layout is where the files of one cluster are: all of them in one folder of the cache.
type layout struct {
	dir string
}

func layoutOf(cache parts.Cache, cluster string) layout {
	return layout{dir: filepath.Join(cache.Dir, "clusters", cluster)}
}

func (l layout) pki(file string) string  { return filepath.Join(l.dir, "pki", file) }
func (l layout) etc(file string) string  { return filepath.Join(l.dir, "etc", file) }
func (l layout) log(name string) string  { return filepath.Join(l.dir, "log", name+".log") }
func (l layout) kubeconfig() string      { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) process() string         { return filepath.Join(l.dir, "process.json") }
func (l layout) daemons() string         { return filepath.Join(l.dir, "daemons.json") }
func (l layout) loaded() string          { return filepath.Join(l.dir, "loaded.json") }
func (l layout) complete() string        { return filepath.Join(l.dir, "complete") }
func (l layout) cniConfig() string       { return l.etc("cni") }
func (l layout) daemonLogFolder() string { return filepath.Join(l.dir, "log") }
