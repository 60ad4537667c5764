// Package environment gives demos and end-to-end tests a cluster that has the project's images: the one on this
// machine, started if need be, or the one that KUBECONFIG names, which is left as it is.
package environment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/images"
)

// The variables that choose another cluster than the default one on this machine.
const (
	// ClusterVariable names the cluster on this machine to use, and to start if need be, where KUBECONFIG names none.
	ClusterVariable = "CLUSTER"
	// NodesVariable is how many nodes that cluster is to have; if it runs with another number, that is an error.
	NodesVariable = "NODES"
	// DualStackVariable, if it is true, has that cluster's pods have an IPv6 address beside the IPv4 one.
	DualStackVariable = "DUAL_STACK"
	// KubeconfigVariable names the kubeconfig file of a cluster to use; nothing is started then.
	KubeconfigVariable = "KUBECONFIG"
	// LoadCommandVariable is a shell command that brings one image archive, its last argument, to that cluster's
	// nodes: "kind load image-archive", say. It runs in the project's top folder.
	LoadCommandVariable = "IMAGE_LOAD_COMMAND"
	// RepositoryVariable is a registry and path, such as registry.example.org/team, to push the images to instead.
	RepositoryVariable = "IMAGE_REPOSITORY"
)

// Environment is a cluster and how to use it.
type Environment struct {
	Kubeconfig string
	Kubectl    string
	// Images is by which reference the cluster finds each image, by the name that manifests use. The two differ only
	// for images that were pushed.
	Images map[string]string
	// Contents is what each image holds, as a hash: programs under development change under one name.
	Contents map[string]string
}

// Client is kubectl for the cluster.
func (e Environment) Client() command.Kubectl { return command.NewKubectl(e.Kubectl, e.Kubeconfig) }

// Prepare provides the cluster and the images. What takes time it tells on progress.
func Prepare(ctx context.Context, progress io.Writer) (Environment, error) {
	return PrepareNamed(ctx, LocalName(), progress)
}

// LocalName is the name of the cluster on this machine to use where KUBECONFIG names none.
func LocalName() string { return cmp.Or(os.Getenv(ClusterVariable), local.DefaultName) }

// PrepareNamed is [Prepare] with a cluster of that name where it is one on this machine that KUBECONFIG does not name.
func PrepareNamed(ctx context.Context, name string, progress io.Writer) (Environment, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return Environment{}, err
	}
	c, err := chooseFrom(os.Getenv, func(path string) (string, bool) { return local.NameOf(cache, path) })
	if err != nil {
		return Environment{}, err
	}
	if os.Getenv(KubeconfigVariable) == "" {
		c.local = name
	}
	if c.local != "" {
		return prepareLocal(ctx, cache, c.local, progress)
	}
	return prepareForeign(ctx, cache, c, progress)
}

// choice is which cluster to use and, if it is foreign, how it gets its images: by exactly one of the two.
type choice struct {
	local       string // name of a cluster on this machine
	kubeconfig  string
	loadCommand string
	repository  string
}

// chooseFrom reads the variables. localName tells whose kubeconfig a file is, if it is one of the local clusters'.
func chooseFrom(getenv func(string) string, localName func(string) (string, bool)) (choice, error) {
	kubeconfig := getenv(KubeconfigVariable)
	if kubeconfig == "" {
		return choice{local: local.DefaultName}, nil
	}
	if name, ok := localName(kubeconfig); ok {
		return choice{local: name}, nil
	}
	return foreignFrom(getenv)
}

// foreignFrom reads the variables of a cluster that was not started here, and wants exactly one way by which images get
// there.
func foreignFrom(getenv func(string) string) (choice, error) {
	c := choice{kubeconfig: getenv(KubeconfigVariable), loadCommand: getenv(LoadCommandVariable), repository: getenv(RepositoryVariable)}
	switch {
	case c.loadCommand == "" && c.repository == "":
		return choice{}, fmt.Errorf("%s=%s names a cluster that was not started here, and nothing says how images get there: "+
			"set %s to a command that loads an archive (such as %q) or %s to a registry and path that its nodes can pull from "+
			"(such as %q), or unset %s to use a cluster on this machine",
			KubeconfigVariable, c.kubeconfig, LoadCommandVariable, "kind load image-archive",
			RepositoryVariable, "registry.example.org/team", KubeconfigVariable)
	case c.loadCommand != "" && c.repository != "":
		return choice{}, fmt.Errorf("both %s and %s are set: set the one by which images get to the cluster of %s",
			LoadCommandVariable, RepositoryVariable, KubeconfigVariable)
	}
	return c, nil
}

func prepareLocal(ctx context.Context, cache parts.Cache, name string, progress io.Writer) (Environment, error) {
	shape, err := shapeFrom(os.Getenv)
	if err != nil {
		return Environment{}, err
	}
	programs, err := parts.Ensure(ctx, cache, parts.ForCluster, progress)
	if err != nil {
		return Environment{}, err
	}
	archives, err := images.Build(ctx, cache, programs, progress)
	if err != nil {
		return Environment{}, err
	}
	info, err := local.Up(ctx, local.Options{Name: name, Shape: shape, Cache: cache, Programs: programs, Images: archives, Progress: progress})
	if err != nil {
		return Environment{}, err
	}
	return Environment{Kubeconfig: info.Kubeconfig, Kubectl: info.Kubectl, Images: sameNames(archives), Contents: contents(archives)}, nil
}

// shapeFrom is what a cluster on this machine is to have; what does not matter is zero.
func shapeFrom(getenv func(string) string) (s local.Shape, err error) {
	if text := getenv(NodesVariable); text != "" {
		if s.Nodes, err = strconv.Atoi(text); err != nil || s.Nodes < 1 {
			return local.Shape{}, fmt.Errorf("%s=%q: expected a number of nodes, such as 2", NodesVariable, text)
		}
	}
	if text := getenv(DualStackVariable); text != "" {
		if s.DualStack, err = strconv.ParseBool(text); err != nil {
			return local.Shape{}, fmt.Errorf("%s=%q: expected true or false", DualStackVariable, text)
		}
	}
	return s, nil
}

func prepareForeign(ctx context.Context, cache parts.Cache, c choice, progress io.Writer) (Environment, error) {
	scope := parts.ForImages
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		scope = parts.ForCluster // which has one
	}
	programs, err := parts.Ensure(ctx, cache, scope, progress)
	if err != nil {
		return Environment{}, err
	}
	if kubectl == "" {
		kubectl = programs.Kubectl()
	}
	archives, err := images.Build(ctx, cache, programs, progress)
	if err != nil {
		return Environment{}, err
	}
	references, err := deliver(ctx, c, archives, progress)
	return Environment{Kubeconfig: c.kubeconfig, Kubectl: kubectl, Images: references, Contents: contents(archives)}, err
}

// deliver brings the archives where a foreign cluster finds them.
func deliver(ctx context.Context, c choice, archives []images.Archive, progress io.Writer) (map[string]string, error) {
	if c.repository != "" {
		return images.Push(ctx, c.repository, archives, progress)
	}
	root, err := parts.Root()
	if err != nil {
		return nil, err
	}
	for _, a := range archives {
		fmt.Fprintf(progress, "loading %s\n", a.Name)
		// The shell splits the command as the user wrote it; the archive is one argument whatever its path.
		cmd := exec.CommandContext(ctx, "sh", "-c", c.loadCommand+` "$1"`, "sh", a.Path)
		cmd.Dir, cmd.Stdout, cmd.Stderr = root, progress, progress
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s=%q failed for %s, the archive of %s: %w", LoadCommandVariable, c.loadCommand, a.Path, a.Name,
				errors.Join(err, context.Cause(ctx)))
		}
	}
	return sameNames(archives), nil
}

func sameNames(archives []images.Archive) map[string]string {
	out := make(map[string]string, len(archives))
	for _, a := range archives {
		out[a.Name] = a.Name
	}
	return out
}

func contents(archives []images.Archive) map[string]string {
	out := make(map[string]string, len(archives))
	for _, a := range archives {
		out[a.Name] = strings.TrimSuffix(filepath.Base(a.Path), filepath.Ext(a.Path))
	}
	return out
}
