package parts

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
)

// Interpreter is a program that tests run scripts or requests by.
type Interpreter string

// Those that there are, by their names on PATH.
const (
	Python Interpreter = "python3"
	Node   Interpreter = "node"
	Curl   Interpreter = "curl"
)

// packageOf is what an interpreter comes with where PATH lacks it.
var packageOf = map[Interpreter]string{Python: "python3", Node: "nodejs", Curl: "curl"}

// EnsureInterpreter provides an interpreter as [Ensure] provides the programs of a scope: that of this machine, or one
// of its distribution's packages. It returns the command that runs it.
func EnsureInterpreter(ctx context.Context, cache Cache, i Interpreter, progress io.Writer) ([]string, error) {
	if path, err := exec.LookPath(string(i)); err == nil {
		return []string{path}, nil
	}
	p, err := distributionPart(cache, string(i), string(i), func(ctx context.Context, stage string) error {
		return unpack(ctx, stage, []string{packageOf[i]})
	})
	if err != nil {
		return nil, err
	}
	tree := filepath.Join(p.dir, "tree")
	run := append([]string{"env"}, withLibraries(nil, tree)...)
	if i == Python {
		run = append(run, "PYTHONHOME="+filepath.Join(tree, "usr")) // where its own modules are
	}
	return append(run, filepath.Join(tree, "usr/bin", string(i))), provide(ctx, cache, []part{p}, progress)
}
