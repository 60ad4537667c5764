package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PolicyEngine is what enforces NetworkPolicies on a node: the controller of kube-router, and the programs by which it
// does so.
type PolicyEngine struct {
	Program string
	Env     []string // PATH and libraries of what the program calls
}

// EnsurePolicyEngine provides the engine as [Ensure] provides the programs of a scope.
func EnsurePolicyEngine(ctx context.Context, cache Cache, progress io.Writer) (PolicyEngine, error) {
	engine, err := modulePart(ctx, cache, "networkpolicy", KubeRouterVersion, recipe{
		what:     "building kube-router's network policy controller",
		packages: []string{"."},
		flags:    []string{"-ldflags", strip},
	})
	if err != nil {
		return PolicyEngine{}, err
	}
	system, systemPart, err := planSystem(cache)
	if err != nil {
		return PolicyEngine{}, err
	}
	wanted := []part{*systemPart, engine}
	path, env := []string{system.Bin}, system.Env
	if _, err := exec.LookPath("ipset"); err != nil {
		p, err := ipsetPart(cache)
		if err != nil {
			return PolicyEngine{}, err
		}
		wanted = append(wanted, p)
		path = append(path, filepath.Join(p.dir, "tree/usr/sbin"), filepath.Join(p.dir, "tree/sbin"))
		env = withLibraries(env, filepath.Join(p.dir, "tree"))
	}
	path = append(path, os.Getenv("PATH"))
	out := PolicyEngine{
		Program: filepath.Join(engine.dir, "networkpolicy"),
		Env:     append(env, "PATH="+strings.Join(path, string(filepath.ListSeparator))),
	}
	return out, provide(ctx, cache, wanted, progress)
}

// ipsetPart unpacks ipset from the distribution's packages, as [System] is.
func ipsetPart(cache Cache) (part, error) {
	p, err := distributionPart(cache, "ipset", "ipset", func(ctx context.Context, stage string) error {
		return unpack(ctx, stage, []string{"ipset"})
	})
	if err != nil {
		return part{}, fmt.Errorf("PATH lacks ipset: %w", err)
	}
	return p, nil
}

// withLibraries adds those of a tree of packages to the variable that names such folders.
func withLibraries(env []string, tree string) []string {
	const variable = "LD_LIBRARY_PATH="
	folders := filepath.Join(tree, "lib", multiarch()) + ":" + filepath.Join(tree, "usr/lib", multiarch())
	var out []string
	for _, pair := range env {
		if value, is := strings.CutPrefix(pair, variable); is {
			pair, folders = variable+value+":"+folders, ""
		}
		out = append(out, pair)
	}
	if folders != "" {
		out = append(out, variable+folders)
	}
	return out
}
