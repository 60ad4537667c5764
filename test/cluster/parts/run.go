package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// command is one program to run to its end, in a process group of its own: cancelling ends its children too, and so
// does the end of this process.
type command struct {
	dir  string
	env  []string // beside the environment of this process
	argv []string
}

// shownLines is how much of a failed program's output goes into the error: enough for a compiler's first complaints.
const shownLines = 30

func (c command) run(ctx context.Context) (output string, err error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err = cmd.Start(); err == nil {
		err = waitGuarded(cmd)
	}
	out := printed.String()
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	in := ""
	if c.dir != "" {
		in = " in " + c.dir
	}
	return "", fmt.Errorf("%s%s: %w\n%s", strings.Join(c.argv, " "), in, err, lastLines(out, shownLines))
}

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitGuarded waits for the end of a program that leads its group.
func waitGuarded(cmd *exec.Cmd) error {
	g, err := watch(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Cancel()
		return errors.Join(err, cmd.Wait())
	}
	defer g.dismiss()
	return cmd.Wait()
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{"…"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}

const modulePath = "github.com/spire-injector/spire-injector"

// Root returns the top folder of the project's sources: the nearest folder at or above the working directory whose
// go.mod is the project's. Both go run and go test start inside it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleName(string(data)) == modulePath {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod of %s at or above %s: run this inside the project's sources", modulePath, start)
		}
	}
}

func moduleName(gomod string) string {
	for line := range strings.Lines(gomod) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}
