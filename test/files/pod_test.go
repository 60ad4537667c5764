package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/files"
	"github.com/spire-injector/spire-injector/test/command"
)

// podConfig is what a pod's processes are told. This program runs itself as two of them: the first, and the container
// that keeps the files.
type podConfig struct {
	Role    role
	App     appName
	Dir     string // the pod's, which all its users see
	Tree    string // packages in which the app is
	Program string // the app, below Tree
	Serves  uint16 // port on which the app serves, if it does
	Calls   uint16 // port that it calls, if it does
}

type role string

const (
	rolePod     role = "pod"
	roleRotator role = "rotator"
)

// configVariable holds a podConfig.
const configVariable = "FILES_POD"

// Users of the pod. The first has a name everywhere, which initdb wants.
const (
	nobody   = 65534
	stranger = 65533
)

type appName string

// app is a program that uses the files.
type app struct {
	process string // that gets SIGHUP when they have changed; empty if the app looks by itself
	prepare func(context.Context, podConfig) error
	args    func(podConfig) []string
}

func apps() map[appName]app {
	return map[appName]app{"postgresql": postgreSQL, "nginx": nginx, "java": java}
}

func fromEnvironment() (c podConfig, inPod bool, err error) {
	text := os.Getenv(configVariable)
	if text == "" {
		return podConfig{}, false, nil
	}
	return c, true, json.Unmarshal([]byte(text), &c)
}

func (c podConfig) environment() []string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // it has strings and numbers
	}
	return append(os.Environ(), configVariable+"="+string(text))
}

// below is a path in the pod's directory.
func (c podConfig) below(path ...string) string {
	return filepath.Join(append([]string{c.Dir}, path...)...)
}

// file is the path of one that is kept.
func (c podConfig) file(name string) string { return c.below("volume", name) }

// pod is the first process of PID and mount namespaces of its own, as in a pod whose containers share their processes.
// It runs until the app or the container beside it ends.
func (c podConfig) pod(ctx context.Context) error {
	for _, mount := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") },
		func() error { return syscall.Mount("proc", "/proc", "proc", 0, "") },
		func() error { return syscall.Mount(c.Tree, c.below("packages"), "", syscall.MS_BIND, "") },
		func() error { return syscall.Mount("tmpfs", c.below("volume"), "tmpfs", 0, "mode=0777,size=1m") }, // as the kubelet's
	} {
		if err := mount(); err != nil {
			return err
		}
	}
	beside := c
	beside.Role = roleRotator
	rotator := c.as(ctx, nobody, c.below("rotator"))
	rotator.Env = beside.environment()
	if err := rotator.Start(); err != nil {
		return err
	}
	for files.Check(c.below("volume"), time.Now()) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.strangersReadNothing(ctx); err != nil {
		return err
	}
	a := apps()[c.App]
	if err := a.prepare(ctx, c); err != nil {
		return fmt.Errorf("preparing %s: %w", c.App, err)
	}
	program := c.as(ctx, nobody, c.below("packages", c.Program), a.args(c)...)
	if err := program.Start(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- errors.Join(errors.New("the container of the files has ended"), rotator.Wait()) }()
	go func() { ended <- errors.Join(fmt.Errorf("%s has ended", c.App), program.Wait()) }()
	return <-ended
}

// as is a program that a user of the pod runs.
func (c podConfig) as(ctx context.Context, user uint32, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+c.below("packages/usr/lib/x86_64-linux-gnu")+":"+
		c.below("packages/usr/lib/aarch64-linux-gnu"), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

// strangersReadNothing tries every file as another user of the pod.
func (c podConfig) strangersReadNothing(ctx context.Context) error {
	for _, name := range []string{files.SVIDFile, files.KeyFile, files.BundleFile, files.JWTBundleFile} {
		var said bytes.Buffer
		cat := c.as(ctx, stranger, "cat", c.file(name))
		cat.Stdout, cat.Stderr = nil, &said
		if err := cat.Run(); err == nil {
			return fmt.Errorf("%s: another user reads it", name)
		} else if !bytes.Contains(said.Bytes(), []byte("Permission denied")) {
			return fmt.Errorf("%s: expected that another user may not read it, got %w: %s", name, err, &said)
		}
	}
	return nil
}

// rotator keeps the files.
func (c podConfig) rotator(ctx context.Context) error {
	config := files.Config{
		WorkloadAPI: "unix://" + c.below("agent.sock"),
		ID:          appID,
		Dir:         c.below("volume"),
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if process := apps()[c.App].process; process != "" {
		config.Notice = files.Notice{Signal: syscall.SIGHUP, Process: process}
	}
	return files.Run(ctx, config)
}

// newPod makes a pod's directory, for a SPIRE agent and for the pod itself.
func newPod(t *testing.T, name appName, tree, program string) podConfig {
	t.Helper()
	dir, err := os.MkdirTemp("", "files-") // other users go through it, which they cannot in a test's own
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return podConfig{Role: rolePod, App: name, Dir: dir, Tree: tree, Program: program}
}

// start starts the app, and beside it what keeps its files.
func (c podConfig) start(t *testing.T) *runningPod {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	text, err := os.ReadFile(program)
	must(t, err)
	must(t, os.WriteFile(c.below("rotator"), text, 0o755))
	for _, name := range []string{"packages", "volume", "data"} {
		must(t, os.Mkdir(c.below(name), 0o700))
	}
	must(t, os.Chmod(c.below("volume"), 0o777))
	must(t, os.Chown(c.below("data"), nobody, nobody))
	p := &runningPod{ended: make(chan struct{})}
	cmd := exec.Command(c.below("rotator"))
	cmd.Env = c.environment()
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	must(t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all of its namespace
		<-p.ended
		if t.Failed() {
			t.Logf("pod:\n%s", &p.out)
		}
	})
	return p
}

type runningPod struct {
	out   command.Output
	ended chan struct{}
}

// check says whether the pod has ended, which is a failure.
func (p *runningPod) check() error {
	select {
	case <-p.ended:
		return errors.New("the pod has ended")
	default:
		return nil
	}
}
