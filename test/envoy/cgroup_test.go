package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// memoryFile is a file of a cgroup that limits memory, and what it says then.
type memoryFile struct{ name, value string }

// memoryFiles limit memory, and after that swap, which not every kernel counts.
func memoryFiles(version2 bool, bytes int64) [2]memoryFile {
	limit := strconv.FormatInt(bytes, 10)
	if version2 {
		return [2]memoryFile{{"memory.max", limit}, {"memory.swap.max", "0"}}
	}
	return [2]memoryFile{{"memory.limit_in_bytes", limit}, {"memory.memsw.limit_in_bytes", limit}} // memory and swap
}

// limitMemory puts a process into a cgroup that may have so much memory, and no swap.
func limitMemory(t *testing.T, pid int, bytes int64) {
	t.Helper()
	root := "/sys/fs/cgroup"
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	version2 := err == nil
	if version2 {
		delegate(t, root, "memory")
	} else {
		root = filepath.Join(root, "memory")
	}
	group := newCgroup(t, filepath.Join(root, fmt.Sprintf("spire-injector-test-%d", pid)), pid)
	for i, file := range memoryFiles(version2, bytes) {
		err := os.WriteFile(filepath.Join(group, file.name), []byte(file.value), 0o644)
		if i == 1 && errors.Is(err, os.ErrNotExist) || i == 1 && errors.Is(err, os.ErrPermission) {
			continue
		}
		must(t, err)
	}
	must(t, enter(group, pid))
}

// newCgroup makes a cgroup for a process, and ends both after the test.
func newCgroup(t *testing.T, group string, pid int) string {
	t.Helper()
	must(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		eventually(t, 10*time.Second, "the end of a cgroup", func() error {
			if err := os.Remove(group); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		})
	})
	return group
}

func enter(group string, pid int) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// delegate lets cgroups below one of version 2 have a controller. In a container the root has processes, which have to go
// into a group of their own before.
func delegate(t *testing.T, root, controller string) {
	t.Helper()
	write := func() error {
		return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
	err := write()
	if errors.Is(err, syscall.EBUSY) {
		own := filepath.Join(root, "spire-injector-test")
		must(t, os.MkdirAll(own, 0o755))
		processes, readErr := os.ReadFile(filepath.Join(root, "cgroup.procs"))
		must(t, readErr)
		for _, process := range strings.Fields(string(processes)) {
			if pid, err := strconv.Atoi(process); err == nil {
				_ = enter(own, pid) // it may have ended
			}
		}
		err = write()
	}
	must(t, err)
}

// TestMemoryFiles: version 1 counts memory and swap together, version 2 apart.
func TestMemoryFiles(t *testing.T) {
	t.Parallel()
	for version2, want := range map[bool][2]memoryFile{
		false: {{"memory.limit_in_bytes", "4096"}, {"memory.memsw.limit_in_bytes", "4096"}},
		true:  {{"memory.max", "4096"}, {"memory.swap.max", "0"}},
	} {
		if diff := cmp.Diff(want, memoryFiles(version2, 4096), cmp.AllowUnexported(memoryFile{})); diff != "" {
			t.Errorf("version 2 %t (-want +got):\n%s", version2, diff)
		}
	}
}

// TestDelegateInAContainer: in a cgroup of version 2 that has a process, which then is in a group of its own. It is done
// with whatever controller version 1 does not hold, because only one version has the one of memory.
func TestDelegateInAContainer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := syscall.Mount("none", root, "cgroup2", 0, ""); errors.Is(err, syscall.EPERM) {
		t.Skip("takes root, for a mount")
	} else {
		must(t, err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	free, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	must(t, err)
	controllers := strings.Fields(string(free))
	if len(controllers) == 0 {
		t.Skip("version 1 holds all controllers")
	}
	controller := controllers[0]
	subtree := filepath.Join(root, "cgroup.subtree_control")
	if before, err := os.ReadFile(subtree); err == nil && !strings.Contains(string(before), controller) {
		t.Cleanup(func() { _ = os.WriteFile(subtree, []byte("-"+controller), 0o644) }) // somebody may use it by now
	}
	process := exec.Command("sleep", "600")
	must(t, process.Start())
	t.Cleanup(func() { _ = process.Wait() })
	container := newCgroup(t, filepath.Join(root, fmt.Sprintf("spire-injector-test-%d", process.Process.Pid)), process.Process.Pid)
	delegate(t, root, controller)
	must(t, enter(container, process.Process.Pid))

	delegate(t, container, controller)
	own := filepath.Join(container, "spire-injector-test")
	t.Cleanup(func() {
		_ = process.Process.Kill()
		eventually(t, 10*time.Second, "the end of the process's cgroup", func() error { return os.Remove(own) })
	})
	for file, want := range map[string]string{
		filepath.Join(own, "cgroup.procs"):                 fmt.Sprintln(process.Process.Pid),
		filepath.Join(container, "cgroup.procs"):           "",
		filepath.Join(container, "cgroup.subtree_control"): controller + "\n",
		filepath.Join(own, "cgroup.controllers"):           controller + "\n",
	} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s: expected %q, got %q, %v", file, want, got, err)
		}
	}
}
