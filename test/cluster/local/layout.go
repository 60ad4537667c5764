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

func (l layout) pki(file string) string         { return filepath.Join(l.dir, "pki", file) }
func (l layout) etc(n node, file string) string { return filepath.Join(l.dir, "etc", n.name(), file) }
func (l layout) log(name string) string         { return filepath.Join(l.dir, "log", name+".log") }
func (l layout) kubeconfig() string             { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) process() string                { return filepath.Join(l.dir, "process.json") }
func (l layout) daemons(n node) string          { return filepath.Join(l.dir, "daemons-"+n.name()+".json") }
func (l layout) loaded(n node) string           { return filepath.Join(l.dir, "loaded-"+n.name()+".json") }
func (l layout) shapeRecord() string            { return filepath.Join(l.dir, "shape.json") }
func (l layout) complete() string               { return filepath.Join(l.dir, "complete") }
func (l layout) cniConfig(n node) string        { return l.etc(n, "cni") }
func (l layout) daemonLogFolder() string        { return filepath.Join(l.dir, "log") }
