package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// arrange turns the fresh namespaces into the cluster's machine. Nothing of it is seen outside.
func arrange(spec Spec) error {
	for _, dir := range spec.Cgroups {
		// 0 is whoever writes it.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("enter a cgroup: %w", err)
		}
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set the hostname: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the machine's mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, t := range spec.Tmpfs {
		if err := mountTmpfs(t, spec.Keep); err != nil {
			return err
		}
	}
	if err := mask(spec.Masked); err != nil {
		return err
	}
	for _, dir := range spec.Dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Containers share mounts with the kubelet in both directions.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	for key, value := range spec.Sysctls {
		if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s to %s (is its kernel module loaded?): %w", key, value, err)
		}
	}
	for _, argv := range spec.Commands {
		if err := runCommand(argv, spec.Env); err != nil {
			return err
		}
	}
	return nil
}

// mountTmpfs covers a folder and shows those of keep again that lie below it.
func mountTmpfs(t Tmpfs, keep []string) error {
	held := map[string]*os.File{}
	for _, dir := range keep {
		if !strings.HasPrefix(dir, t.Path+"/") {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		held[dir] = f
	}
	if err := unix.Mount("tmpfs", t.Path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, t.Options); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", t.Path, err)
	}
	for dir, f := range held {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep %s below the tmpfs on %s: %w", dir, t.Path, err)
		}
	}
	return nil
}

// maskDir holds the files that lie over kernel settings; it is on one of the tmpfs.
const maskDir = "/run/masked-sysctls"

func mask(settings map[string]string) error {
	if err := os.MkdirAll(maskDir, 0o755); err != nil {
		return err
	}
	for key, value := range settings {
		target := filepath.Join("/proc/sys", key)
		if _, err := os.Stat(target); err != nil {
			continue // this kernel does not have it, so nobody can change it
		}
		file := filepath.Join(maskDir, strings.ReplaceAll(key, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mask %s: %w", target, err)
		}
	}
	return nil
}

func runCommand(argv, env []string) error {
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...) // process 1 ends by a signal, not by a context
	cmd.Env = slices.Clone(env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
