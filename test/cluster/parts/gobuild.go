package parts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// module is one of the modules in test/tools, which pin programs by their go.mod and go.sum.
type module struct {
	dir string
	key string // stands for everything that decides what the module's programs are
}

func openModule(ctx context.Context, dir string) (module, error) {
	toolchain, err := (command{dir: dir, env: goEnv, argv: []string{"go", "env", "GOVERSION"}}).run(ctx)
	if err != nil {
		return module{}, fmt.Errorf("ask the go command for its version: %w", err)
	}
	inputs := []string{strings.TrimSpace(toolchain), runtime.GOOS, runtime.GOARCH}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		inputs = append(inputs, rel, string(data))
		return err
	})
	if err != nil {
		return module{}, fmt.Errorf("read the module %s: %w", dir, err)
	}
	return module{dir: dir, key: Key(inputs...)}, nil
}

// goEnv is for all runs of the go command: a go.work above the project must not change what is built.
var goEnv = []string{"GOWORK=off"}

// recipe says how one part comes out of a module.
type recipe struct {
	what     string
	packages []string
	flags    []string
	cgo      bool
	names    []string // further names of the one program built
	data     dataFiles
}

// dataFiles are files that a required module publishes beside its code.
type dataFiles struct {
	module  string // empty for none
	pattern string // below the module, as filepath.Glob takes it
	folder  string // where they come in the part
}

const strip = "-s -w"

var (
	hyperkube = recipe{
		what:     "building kube-apiserver, kubelet, kubectl and the other Kubernetes programs",
		packages: []string{"./hyperkube"},
		flags:    []string{"-ldflags", strip + " -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion},
		names:    []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"},
	}
	coreDNS = recipe{
		what:     "building coredns",
		packages: []string{"./coredns"},
		flags:    []string{"-ldflags", strip + " -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion},
	}
	etcd = recipe{
		what:     "building etcd",
		packages: []string{"go.etcd.io/etcd/server/v3"},
		flags:    []string{"-ldflags", strip},
	}
	cni = recipe{
		what: "building the network plugins",
		packages: []string{
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
			"github.com/containernetworking/plugins/plugins/meta/portmap",
		},
		flags: []string{"-ldflags", strip},
	}
)

// spireProgram builds one of SPIRE's programs, from a folder of SPIRE's sources. SPIRE's data store needs cgo (SQLite);
// linked statically, with Go's own resolver, its image needs a single file.
func spireProgram(folder string) recipe {
	return recipe{
		what:     "building " + path.Base(folder),
		packages: []string{"github.com/spiffe/spire/" + folder},
		flags: []string{"-tags", "netgo,osusergo", "-ldflags", strip + " -X github.com/spiffe/spire/pkg/common/version.gittag=" + strings.TrimPrefix(SPIREVersion, "v") +
			" -linkmode external -extldflags -static"},
		cgo: true,
	}
}

// args is the go command's arguments to build r into the folder out.
func (r recipe) args(out string) []string {
	argv := []string{"go", "build", "-o", out + string(filepath.Separator)}
	return append(append(argv, r.flags...), r.packages...)
}

func (r recipe) env() []string {
	if r.cgo {
		return append([]string{"CGO_ENABLED=1"}, goEnv...)
	}
	return append([]string{"CGO_ENABLED=0"}, goEnv...)
}

func (m module) part(cache Cache, thing, version string, r recipe) part {
	key := Key(slices.Concat([]string{m.key}, r.env(), r.args(""), r.data.key())...)
	return part{
		what: r.what + " " + version,
		dir:  filepath.Join(cache.Dir, "parts", thing+"-"+version+"-"+key),
		produce: func(ctx context.Context, stage string) error {
			if r.cgo {
				if _, err := exec.LookPath("gcc"); err != nil {
					return fmt.Errorf("SPIRE needs a C compiler and a static C library (on Debian: apt-get install gcc libc6-dev): %w", err)
				}
			}
			if _, err := (command{dir: m.dir, env: r.env(), argv: r.args(stage)}).run(ctx); err != nil {
				return err
			}
			if err := r.data.copyTo(ctx, m, stage); err != nil {
				return err
			}
			return r.rename(stage)
		},
	}
}

// rename corrects what the go command names programs by their import path's last element.
func (r recipe) rename(stage string) error {
	if old := filepath.Join(stage, "server"); exists(old) {
		if err := os.Rename(old, filepath.Join(stage, "etcd")); err != nil {
			return err
		}
	}
	if len(r.names) == 0 {
		return nil
	}
	return linkNames(stage, filepath.Base(r.packages[0]), r.names...)
}

// key is empty for none, so that the parts without data keep their names.
func (d dataFiles) key() []string {
	if d.module == "" {
		return nil
	}
	return []string{d.module, d.pattern, d.folder}
}

func (d dataFiles) copyTo(ctx context.Context, m module, stage string) error {
	if d.module == "" {
		return nil
	}
	out, err := (command{dir: m.dir, env: goEnv, argv: []string{"go", "list", "-m", "-f", "{{.Dir}}", d.module}}).run(ctx)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(out), d.pattern))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("module %s has no %s", d.module, d.pattern))
	}
	if err := os.Mkdir(filepath.Join(stage, d.folder), 0o755); err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(stage, d.folder, filepath.Base(file)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
