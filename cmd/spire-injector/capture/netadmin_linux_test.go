package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/images"
)

// Environment of a copy of this program that plays one of two parts.
const (
	partVariable = "CAPTURE_TEST_PART"
	runtimePart  = "container runtime" // becomes the process of a container, which its argument describes
	programPart  = "program"           // writes rules, as the program in the container does
)

func TestMain(m *testing.M) {
	switch os.Getenv(partVariable) {
	case runtimePart:
		fmt.Fprintln(os.Stderr, startContainer(os.Args[1]))
		os.Exit(3)
	case programPart:
		if err := Apply(context.Background(), podRules(), ir.IPv4); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		os.Exit(m.Run())
	}
}

// container is what a runtime makes of a securityContext.
type container struct {
	Program         string
	User            int
	NetAdmin        bool // in its capabilities, of which it has no others
	NotPermitted    bool // the runtime gives the process itself none
	NoNewPrivileges bool // allowPrivilegeEscalation: false
}

// startContainer becomes the container's process, as runc does: what it may have, its user, what it has.
func startContainer(text string) error {
	var c container
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	runtime.LockOSThread() // all of this is about one thread, of which the process is made in the end
	for capability := range unix.CAP_LAST_CAP + 1 {
		if c.NetAdmin && capability == unix.CAP_NET_ADMIN {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(call, uintptr(c.User), uintptr(c.User), uintptr(c.User)); errno != 0 {
			return fmt.Errorf("become user %d: %w", c.User, errno)
		}
	}
	var has [2]unix.CapUserData
	if c.NetAdmin && !c.NotPermitted {
		has[0].Permitted, has[0].Effective = 1<<unix.CAP_NET_ADMIN, 1<<unix.CAP_NET_ADMIN
	}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &has[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	if c.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	environment := []string{partVariable + "=" + programPart}
	return fmt.Errorf("start the program: %w", syscall.Exec(c.Program, []string{c.Program}, environment))
}

// programWith is a copy of this program that everybody may run, with capabilities of its file.
func programWith(t *testing.T, capabilities string) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	folder := t.TempDir()
	for _, dir := range []string{folder, filepath.Dir(folder)} {
		must(t, os.Chmod(dir, 0o755))
	}
	path := filepath.Join(folder, "program")
	must(t, os.WriteFile(path, self, 0o755))
	if capabilities != "" {
		must(t, unix.Setxattr(path, fileCapabilities, []byte(capabilities), 0))
	}
	return path
}

// TestCapabilities: the program writes rules wherever it may, says what it lacks elsewhere, and the capability of its
// file is in the way of no container.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	const none = ""
	// With this one, which is not ours, NET_ADMIN would be in effect at once.
	effective := "\x01" + images.NetAdminPermitted[1:]
	const injected, root = 15001, 0
	programs := map[string]string{}
	for _, file := range []string{none, images.NetAdminPermitted, effective} {
		programs[file] = programWith(t, file)
	}
	for name, c := range map[string]struct {
		file      string
		container container
		want      string // on standard error; empty if rules are written
	}{
		"an init container": {images.NetAdminPermitted,
			container{User: injected, NetAdmin: true, NoNewPrivileges: true}, ""},
		"privileges may be gained": {images.NetAdminPermitted, container{User: injected, NetAdmin: true}, ""},
		"the runtime leaves all to the file": {images.NetAdminPermitted,
			container{User: injected, NetAdmin: true, NotPermitted: true}, ""},
		"root": {none, container{User: root, NetAdmin: true, NoNewPrivileges: true}, ""},
		"root, with the same file": {images.NetAdminPermitted,
			container{User: root, NetAdmin: true, NoNewPrivileges: true}, ""},
		"no NET_ADMIN": {images.NetAdminPermitted, container{User: injected, NoNewPrivileges: true},
			"the container has no capability NET_ADMIN, without which nobody changes the pod's network: " +
				"add it to securityContext.capabilities.add"},
		"no NET_ADMIN, root": {images.NetAdminPermitted, container{User: root, NoNewPrivileges: true},
			"the container has no capability NET_ADMIN"},
		"no NET_ADMIN, privileges may be gained": {images.NetAdminPermitted, container{User: injected},
			"the container has no capability NET_ADMIN"},
		"the file has lost it": {none, container{User: injected, NetAdmin: true, NoNewPrivileges: true},
			"not this process of user 15001, because its file has lost the capability cap_net_admin=p: build and copy"},
		"the file does not count": {images.NetAdminPermitted,
			container{User: injected, NetAdmin: true, NotPermitted: true, NoNewPrivileges: true},
			"although its file has capabilities (20 bytes): the container runtime lets those of files count for nothing; " +
				"set allowPrivilegeEscalation: true"},
		"a file in effect": {effective, container{User: injected, NetAdmin: true, NoNewPrivileges: true}, ""},
		"a file in effect, without NET_ADMIN": {effective, container{User: injected, NoNewPrivileges: true},
			"start the program: operation not permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.container.Program = programs[c.file]
			description, err := json.Marshal(c.container)
			must(t, err)
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", string(description))
			cmd.Env = []string{partVariable + "=" + runtimePart}
			var out []byte
			failed := w.pod.Do(func() (err error) {
				out, err = cmd.CombinedOutput()
				return err
			})
			if c.want == "" && (failed != nil || len(w.tables(t)) != 1) {
				t.Errorf("expected rules, got %v: %s and tables %v", failed, out, w.tables(t))
			}
			if c.want != "" && (failed == nil || !strings.Contains(string(out), c.want) || len(w.tables(t)) != 0) {
				t.Errorf("expected %q, got %v: %s and tables %v", c.want, failed, out, w.tables(t))
			}
		})
	}
}

// TestNetAdminIsGivenUp: what runs after the rules are written may not write any.
func TestNetAdminIsGivenUp(t *testing.T) {
	t.Parallel()
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // which ends with this goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		effective := func() uint32 {
			var now [2]unix.CapUserData
			if err := unix.Capget(&header, &now[0]); err != nil {
				t.Error(err)
			}
			return now[0].Effective
		}
		permitted := [2]unix.CapUserData{{Permitted: 1 << unix.CAP_NET_ADMIN}, {}}
		if err := unix.Capset(&header, &permitted[0]); err != nil {
			ended <- err
			return
		}
		err := withNetAdmin(func() error {
			if effective() != 1<<unix.CAP_NET_ADMIN {
				t.Error("NET_ADMIN is not in effect")
			}
			return nil
		})
		if effective() != 0 {
			t.Error("NET_ADMIN is still in effect")
		}
		ended <- err
	}()
	must(t, <-ended)
}
