package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is a cluster's subtree in every cgroup hierarchy that is mounted, version 1 or 2. The kubelet puts pods
// below it, process 1 with its daemons is in its child "daemons", and each further node has a child that is divided
// likewise: whatever runs of a cluster is found there.
type cgroups struct {
	roots []string // for example /sys/fs/cgroup/cpu/spire-injector-default
}

const daemonsGroup = "daemons"

func cgroupsOf(n names) (cgroups, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}, err
	}
	var c cgroups
	for _, hierarchy := range cgroupMounts(string(mounts)) {
		c.roots = append(c.roots, filepath.Join(hierarchy, n.cgroup))
	}
	if len(c.roots) == 0 {
		return cgroups{}, errors.New("no cgroup file system is mounted below /sys/fs/cgroup: the kubelet needs one")
	}
	return c, nil
}

// cgroupMounts returns where hierarchies are mounted, from the text of a mountinfo file (proc(5)).
func cgroupMounts(mountinfo string) []string {
	var out []string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 1 || (kind[0] != "cgroup" && kind[0] != "cgroup2") {
			continue
		}
		if mount := fields[4]; strings.HasPrefix(mount, "/sys/fs/cgroup") {
			out = append(out, mount)
		}
	}
	return out
}

func (c cgroups) create(nodes []node) error {
	for _, n := range nodes {
		for _, root := range c.rootsOf(n) {
			for _, dir := range []string{root, filepath.Join(root, daemonsGroup)} {
				if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("make a cgroup: %w", err)
				}
				if err := inheritCPUs(dir); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rootsOf is a node's subtree in every hierarchy.
func (c cgroups) rootsOf(n node) []string {
	if n == controlPlane {
		return c.roots
	}
	out := make([]string, 0, len(c.roots))
	for _, root := range c.roots {
		out = append(out, filepath.Join(root, n.name()))
	}
	return out
}

// daemonsOf are the cgroups of a node's process 1 and its daemons.
func (c cgroups) daemonsOf(n node) []string {
	out := make([]string, 0, len(c.roots))
	for _, root := range c.rootsOf(n) {
		out = append(out, filepath.Join(root, daemonsGroup))
	}
	return out
}

// inheritCPUs gives a cgroup of version 1's cpuset its parent's processors and memory: a fresh one has none, and then
// no process can enter it.
func inheritCPUs(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) || (err == nil && strings.TrimSpace(string(have)) != "") || isVersion2(dir) {
			continue
		}
		if err != nil {
			return err
		}
		parents, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), parents, 0o644); err != nil {
			return fmt.Errorf("set up a cgroup: %w", err)
		}
	}
	return nil
}

func isVersion2(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.controllers"))
	return err == nil
}

// enter moves a process into the cgroup of the first node's daemons.
func (c cgroups) enter(pid int) error {
	for _, dir := range c.daemonsOf(controlPlane) {
		file := filepath.Join(dir, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("put the cluster into its cgroup: %w", err)
		}
	}
	return nil
}

// processes returns every process in the subtree, daemons and pods.
func (c cgroups) processes() ([]int, error) {
	seen := map[int]bool{}
	var out []int
	for _, root := range c.roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
				return err
			}
			for field := range strings.FieldsSeq(string(data)) {
				pid, err := strconv.Atoi(field)
				if err == nil && pid > 0 && !seen[pid] {
					seen[pid] = true
					out = append(out, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the processes below %s: %w", root, err)
		}
	}
	return out, nil
}

// remove deletes the subtree, in which no process is left. The kernel needs a moment after the last one has ended.
func (c cgroups) remove(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		var err error
		for _, root := range c.roots {
			err = errors.Join(err, removeTree(root))
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// removeTree removes folders only, children first: the files in a cgroup cannot be removed and go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the cgroup %s: %w", dir, err)
	}
	return nil
}
