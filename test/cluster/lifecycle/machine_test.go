package lifecycle

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// machine is what a cluster could leave on the machine that it runs on.
type machine struct {
	Interfaces []string
	Mounts     []string // mount points
	Cgroups    []string
	Folders    []string // of those that Kubernetes and containerd like to make
	Settings   map[string]string
}

// look describes the machine as far as it concerns the cluster: the links of other clusters, which may come and go
// meanwhile, are left out.
func look(t *testing.T, cluster string) machine {
	t.Helper()
	m := machine{Settings: map[string]string{}}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	others := otherLinks(t, cluster)
	for _, i := range interfaces {
		if !slices.Contains(others, i.Name) {
			m.Interfaces = append(m.Interfaces, i.Name)
		}
	}
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		m.Mounts = append(m.Mounts, strings.Fields(line)[4])
	}
	for _, pattern := range []string{"/sys/fs/cgroup/spire-injector-" + cluster, "/sys/fs/cgroup/*/spire-injector-" + cluster} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		m.Cgroups = append(m.Cgroups, found...)
	}
	for _, folder := range []string{"/run/containerd", "/run/netns", "/run/flannel", "/run/cni-addresses", "/var/lib/kubelet", "/var/lib/containerd",
		"/var/lib/etcd", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/opt/containerd", "/usr/libexec/kubernetes",
		"/tmp/hostpath_pv", "/etc/cni", "/etc/kubernetes"} {
		if _, err := os.Lstat(folder); err == nil {
			m.Folders = append(m.Folders, folder)
		}
	}
	for _, setting := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward",
		"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established"} {
		data, err := os.ReadFile(filepath.Join("/proc/sys", setting))
		if err == nil {
			m.Settings[setting] = strings.TrimSpace(string(data))
		}
	}
	slices.Sort(m.Interfaces)
	slices.Sort(m.Mounts)
	return m
}

// namespaces are the identities of a process's namespaces, such as net:[4026532208].
func namespaces(t *testing.T, pid int) []string {
	t.Helper()
	var out []string
	for _, kind := range []string{"net", "mnt", "pid"} {
		id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			t.Fatal(err)
		}
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		if id == own {
			t.Fatalf("process %d shares this process's %s namespace", pid, kind)
		}
		out = append(out, id)
	}
	return out
}

// inhabitants returns the processes that are in one of the namespaces or in a cgroup of the cluster.
func inhabitants(t *testing.T, cluster string, namespaces []string) map[int]string {
	t.Helper()
	out := map[int]string{}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err != nil || bytes.Contains(stat, []byte(") Z ")) {
			continue // has ended; the machine's first process will take it in when it likes
		}
		cgroups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		if strings.Contains(string(cgroups), "/spire-injector-"+cluster+"/") {
			out[pid] = strings.TrimSpace(string(name))
		} else if strings.Contains(string(cgroups), "/spire-injector-") {
			continue // is another cluster's, whose namespaces may have got the numbers of those that have ended
		}
		for _, kind := range []string{"net", "mnt", "pid"} {
			id, err := os.Readlink(filepath.Join(dir, "ns", kind))
			if err == nil && slices.Contains(namespaces, id) {
				out[pid] = strings.TrimSpace(string(name))
			}
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func otherLinks(t *testing.T, cluster string) []string {
	t.Helper()
	cache, err := parts.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(cache.Dir, "clusters", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, folder := range folders {
		if other := filepath.Base(folder); other != cluster {
			link, err := local.Link(other)
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, link)
		}
	}
	return links
}
