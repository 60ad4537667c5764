// Package lifecycle holds the test cluster to its promises on the real thing: that it comes up, heals, and leaves
// nothing behind. It needs root; the tests run one after the other on a cluster of their own.
package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/images"
)

const name = "lifecycle-test"

// progress passes what the cluster tells to the test's log.
type progress struct{ t *testing.T }

func (p progress) Write(data []byte) (int, error) {
	p.t.Log(strings.TrimSpace(string(data)))
	return len(data), nil
}

func options(t *testing.T) local.Options {
	t.Helper()
	cache, err := parts.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := parts.Ensure(t.Context(), cache, parts.ForCluster, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return local.Options{Name: name, Cache: cache, Programs: programs, Progress: progress{t}}
}

// fresh removes what an aborted run of the test may have left, looks at the machine, and makes sure that the machine
// looks the same after the test.
func fresh(t *testing.T, o local.Options) (before machine) {
	t.Helper()
	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Down(context.Background(), o); err != nil {
			t.Error(err)
		}
	})
	return look(t, name)
}

func assertGone(t *testing.T, o local.Options, before machine, namespaces []string) {
	t.Helper()
	if left := inhabitants(t, name, namespaces); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if diff := cmp.Diff(before, look(t, name)); diff != "" {
		t.Errorf("the machine is not as before (-before +after):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(o.Cache.Dir, "clusters", name)); !os.IsNotExist(err) {
		t.Errorf("the cluster's folder is still there: %v", err)
	}
}

func kubectl(t *testing.T, info local.Info, stdin string, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, info, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryKubectl(t *testing.T, info local.Info, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), info.Kubectl, append([]string{"--kubeconfig", info.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

func busybox(t *testing.T, o local.Options) []images.Archive {
	t.Helper()
	foreign, err := images.Foreign(t.Context(), o.Cache, o.Programs)
	if err != nil {
		t.Fatal(err)
	}
	for n, image := range foreign {
		if image.Name == images.Busybox {
			return foreign[n : n+1]
		}
	}
	t.Fatalf("the images have no %s", images.Busybox)
	return nil
}

func TestClusterRunsPodsAndLeavesNothing(t *testing.T) {
	o := options(t)
	before := fresh(t, o)
	o.Images = busybox(t, o)
	info, err := local.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	state := inspect(t, o)
	spaces := namespaces(t, state.PID)
	if len(inhabitants(t, name, spaces)) < 7 {
		t.Errorf("expected at least the seven daemons in the cluster's namespaces, got %v", inhabitants(t, name, spaces))
	}

	t.Run("up again changes nothing", func(t *testing.T) {
		begin := time.Now()
		if _, err := local.Up(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Logf("took %s", time.Since(begin).Round(10*time.Millisecond))
		if again := inspect(t, o); again.PID != state.PID {
			t.Errorf("process 1 was %d and is %d: the cluster was started again", state.PID, again.PID)
		}
	})
	t.Run("pods", func(t *testing.T) { testPods(t, info) })
	t.Run("a killed daemon comes back", func(t *testing.T) {
		kill(t, name, spaces, "kubelet")
		kill(t, name, spaces, "containerd")
		kill(t, name, spaces, "etcd")
		if _, err := local.Up(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if again := inspect(t, o); again.PID != state.PID {
			t.Errorf("process 1 was %d and is %d: the cluster was started again", state.PID, again.PID)
		}
		// The kubelet serves a moment before it knows its pods again.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, err := tryKubectl(t, info, "", "exec", "--namespace=lifecycle", "web", "--container=app", "--", "echo", "alive")
			if got == "alive\n" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("exec in a pod that lived through it: got %q, error %v; want %q", got, err, "alive\n")
			}
		}
		if got := kubectl(t, info, "", "get", "pods", "--namespace=lifecycle", "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}"); got != "0 0 0" {
			t.Errorf("restarts of the pods' containers: got %q, want none", got)
		}
	})

	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	assertGone(t, o, before, spaces)
	if err := local.Down(t.Context(), o); err != nil {
		t.Errorf("down with nothing up: %v", err)
	}
	assertGone(t, o, before, spaces)
}

func TestDownAfterTheFirstProcessWasKilled(t *testing.T) {
	o := options(t)
	before := fresh(t, o)
	killed := startAndStopAt(t, o, func(s local.State) bool { return apiAnswers(s) })
	if err := syscall.Kill(killed.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	assertGone(t, o, before, killed.namespaces)
}

func TestDownAfterUpWasKilledAndItsRecordLost(t *testing.T) {
	o := options(t)
	before := fresh(t, o)
	killed := startAndStopAt(t, o, func(s local.State) bool { return len(s.Daemons) > 0 && s.Daemons[0].PID > 0 })
	if got := inspect(t, o); !got.Running || got.Ready {
		t.Fatalf("state after up was killed half-way: got running %t, ready %t; want true, false", got.Running, got.Ready)
	}
	// Moved and not removed: what runs goes on writing into it.
	lost := filepath.Join(o.Cache.Dir, "lost-record-of-"+name)
	t.Cleanup(func() { _ = os.RemoveAll(lost) })
	if err := errors.Join(os.RemoveAll(lost), os.Rename(filepath.Join(o.Cache.Dir, "clusters", name), lost)); err != nil {
		t.Fatal(err)
	}
	if len(inhabitants(t, name, killed.namespaces)) == 0 {
		t.Fatal("nothing of the half-started cluster runs: this tests nothing")
	}
	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	assertGone(t, o, before, killed.namespaces)
}

func TestUpThatCannotSucceedSaysWhyAndLeavesNoProcess(t *testing.T) {
	o := options(t)
	before := fresh(t, o)
	o.Programs.Etcd = "/bin/false"
	_, err := local.Up(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "etcd ended 4 times, last: exit status 1") {
		t.Errorf("got error %v, want one that says that etcd ended", err)
	}
	if left := inhabitants(t, name, nil); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if err := local.Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	assertGone(t, o, before, nil)
}

// half is a cluster whose start was cut off.
type half struct {
	PID        int
	namespaces []string
}

// startAndStopAt runs `up` in a process of its own and kills that, with all it started but the cluster, at a moment of
// the cluster's life.
func startAndStopAt(t *testing.T, o local.Options, moment func(local.State) bool) half {
	t.Helper()
	program, err := parts.BuildOwn(t.Context(), o.Cache, "./test/cluster", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "up", "--bare", "--name", name)
	var output command.Output
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var state local.State
	for deadline := time.Now().Add(time.Minute); !moment(state); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the moment to kill never came; up said: %s", output.String())
		}
		state = inspect(t, o)
	}
	h := half{PID: state.PID, namespaces: namespaces(t, state.PID)}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatalf("%v; up said: %s", err, output.String())
	}
	_ = cmd.Wait()
	return h
}

func apiAnswers(s local.State) bool {
	if !s.Running {
		return false
	}
	return exec.Command(s.Kubectl, "--kubeconfig", s.Kubeconfig, "get", "--raw", "/readyz").Run() == nil
}

func inspect(t *testing.T, o local.Options) local.State {
	t.Helper()
	state, err := local.Inspect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func kill(t *testing.T, cluster string, namespaces []string, program string) {
	t.Helper()
	for pid, comm := range inhabitants(t, cluster, namespaces) {
		if comm == program {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no process %s in the cluster", program)
}
