package local

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/spire-injector/spire-injector/test/cluster/supervisor"
)

// etcd speaks only inside the cluster's namespace, so it needs no TLS.
const (
	etcdClients = "http://127.0.0.1:2379"
	etcdPeers   = "http://127.0.0.1:2380"
)

const apiServer = "kube-apiserver"

const issuer = "https://kubernetes.default.svc." + clusterDomain

// specFor is all that process 1 has to know.
func (c cluster) specFor(k link) supervisor.Spec {
	ip := c.ip()
	spec := c.nodeSpec(controlPlane, [][]string{
		{ip, "address", "add", netip.PrefixFrom(k.inside, linkBits).String(), "dev", c.inside},
		{ip, "link", "set", c.inside, "up"},
	})
	for _, n := range c.nodes() {
		if n != controlPlane {
			spec.Nodes = append(spec.Nodes, c.furtherNode(n))
		}
	}
	return spec
}

func (c cluster) ip() string { return filepath.Join(c.programs.System.Bin, "ip") }

// nodeSpec is what process 1 of one node has to know, and the commands that link it to others.
func (c cluster) nodeSpec(n node, links [][]string) supervisor.Spec {
	ip, p := c.ip(), c.programs
	sysctls := map[string]string{
		"net/ipv4/ip_forward":                "1",
		"net/bridge/bridge-nf-call-iptables": "1",
		// kube-proxy refuses with ICMP what goes to services without endpoints. By its default of one answer a second for
		// each pod, a pod's first connections hang instead.
		"net/ipv4/icmp_ratelimit": "0",
	}
	if c.DualStack {
		maps.Copy(sysctls, map[string]string{
			"net/ipv6/conf/all/forwarding":        "1",
			"net/bridge/bridge-nf-call-ip6tables": "1",
			"net/ipv6/icmp/ratelimit":             "0",
			// An address counts at once, without a look whether somebody else has it.
			"net/ipv6/conf/default/accept_dad": "0",
		})
	}
	return supervisor.Spec{
		Hostname: n.name(),
		Tmpfs: []supervisor.Tmpfs{
			{Path: "/run", Options: "mode=755"},
			{Path: "/var/lib", Options: "mode=755"},
			{Path: "/var/log", Options: "mode=755"},
			{Path: "/tmp", Options: "mode=1777"},
		},
		Keep: []string{c.cache.Dir},
		Dirs: []string{"/run/netns", "/run/lock", "/run/containerd", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/etcd",
			"/var/log/pods", "/var/log/containers"},
		// Here the controller manager makes the volumes that pods claim, for root only; on other clusters any pod can
		// write to its volume.
		OpenDirs: []string{volumes},
		Masked: map[string]string{ // what the kubelet insists on
			"vm/overcommit_memory":      "1",
			"vm/panic_on_oom":           "0",
			"kernel/panic":              "10",
			"kernel/panic_on_oops":      "1",
			"kernel/keys/root_maxkeys":  "1000000",
			"kernel/keys/root_maxbytes": "25000000",
		},
		Sysctls:  sysctls,
		Commands: slices.Concat([][]string{{ip, "link", "set", "lo", "up"}}, c.bridgeCommands(n), links),
		Env: append([]string{
			"PATH=" + p.System.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root",
			// Clusters live for minutes, several at a time on few processors: memory is what they have enough of.
			"GOGC=400",
		}, p.System.Env...),
		Daemons:    c.daemonsFor(n),
		StatusFile: c.daemons(n),
	}
}

// bridgeCommands make the bridge of a node. It is there before the kubelet, whose addresses it has.
func (c cluster) bridgeCommands(n node) [][]string {
	ip := c.ip()
	commands := [][]string{{ip, "link", "add", bridge, "type", "bridge"}}
	for _, w := range c.networks() {
		commands = append(commands, []string{ip, "address", "add", w.onBridge(n).String(), "dev", bridge})
	}
	commands = append(commands, []string{ip, "link", "set", bridge, "up"})
	for _, w := range c.networks() {
		services := w.services.String()
		commands = append(commands,
			// Without some route a process on the node gets "network is unreachable" before kube-proxy's rules apply.
			[]string{ip, "route", "add", services, "dev", bridge},
			// What a pod sends to a service before kube-proxy knows it is refused at once, like what it sends to one without
			// endpoints. Otherwise it waits for an answer by that route for up to 5 s, and whatever shares its connection does.
			[]string{filepath.Join(c.programs.System.Bin, w.iptables), "--append", "FORWARD", "--in-interface", bridge,
				"--protocol", "tcp", "--destination", services, "--jump", "REJECT", "--reject-with", "tcp-reset"})
	}
	return commands
}

// furtherNode is a node that is linked to the first one, by whose address it reaches all others.
func (c cluster) furtherNode(n node) supervisor.Node {
	ip, first := c.ip(), controlPlane
	near, far := "to-"+n.name(), "to-"+first.name()
	all := func(w network) netip.Prefix { return w.pods }
	spec := c.nodeSpec(n, c.linkTo(far, n, first, all))
	spec.Cgroups = c.cgroups.daemonsOf(n)
	spec.Keep = append(spec.Keep, volumes)
	spec.OpenDirs = nil
	return supervisor.Node{
		Name:     n.name(),
		Log:      c.log(n.name()),
		Connect:  []string{ip, "link", "add", near, "type", "veth", "peer", "name", far, "netns"},
		Commands: c.linkTo(near, first, n, func(w network) netip.Prefix { return w.podsOf(n) }),
		Spec:     spec,
	}
}

// linkTo gives an interface that leads to another node the addresses that its own node has already, so that the other
// node sees one address whoever on it calls, and leads what is behind there.
func (c cluster) linkTo(device string, own, other node, behind func(network) netip.Prefix) [][]string {
	ip := c.ip()
	var commands, routes [][]string
	for _, w := range c.networks() {
		there := w.addressOf(other).String()
		commands = append(commands, []string{ip, "address", "add", w.addressOf(own).String(), "peer", there, "dev", device})
		routes = append(routes, []string{ip, "route", "add", behind(w).String(), "via", there, "dev", device, "onlink"})
	}
	return slices.Concat(commands, [][]string{{ip, "link", "set", device, "up"}}, routes)
}

func (c cluster) daemonsFor(n node) []supervisor.Daemon {
	var daemons []supervisor.Daemon
	if n == controlPlane {
		daemons = c.controlPlaneDaemons()
	}
	daemons = append(daemons, c.nodeDaemons(n)...)
	for i := range daemons {
		// At rest most of their time goes into waking threads. Only the API server has work for several.
		if daemons[i].Name != apiServer {
			daemons[i].Env = []string{"GOMAXPROCS=1"}
		}
		daemons[i].Name = n.daemon(daemons[i].Name)
		daemons[i].Log = c.log(daemons[i].Name)
	}
	return daemons
}

func (c cluster) controlPlaneDaemons() []supervisor.Daemon {
	l, p := c.layout, c.programs
	kubernetes := func(name string) string { return filepath.Join(p.Kubernetes, name) }
	return []supervisor.Daemon{
		{Name: "etcd", Path: p.Etcd, Args: []string{
			"--data-dir=/var/lib/etcd", "--listen-client-urls=" + etcdClients, "--advertise-client-urls=" + etcdClients,
			"--listen-peer-urls=" + etcdPeers, "--initial-advertise-peer-urls=" + etcdPeers, "--initial-cluster=default=" + etcdPeers,
			"--unsafe-no-fsync", "--log-level=warn",
			// One member has nobody to send heartbeats to.
			"--heartbeat-interval=1000", "--election-timeout=10000",
		}},
		{Name: apiServer, Path: kubernetes(apiServer), Args: []string{
			"--etcd-servers=" + etcdClients,
			fmt.Sprintf("--secure-port=%d", apiPort),
			"--advertise-address=" + controlPlane.address().String(),
			"--service-cluster-ip-range=" + list(c.networks(), func(w network) netip.Prefix { return w.services }),
			"--client-ca-file=" + l.pki("ca.crt"),
			"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
			"--service-account-issuer=" + issuer,
			"--service-account-key-file=" + l.pki("service-accounts.pub"),
			"--service-account-signing-key-file=" + l.pki("service-accounts.key"),
			"--api-audiences=" + issuer + ",spire-server", // k8s_psat asks for reviews of tokens with SPIRE's audience
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--kubelet-client-certificate=" + l.pki("apiserver-kubelet-client.crt"),
			"--kubelet-client-key=" + l.pki("apiserver-kubelet-client.key"),
			"--kubelet-certificate-authority=" + l.pki("ca.crt"),
			"--kubelet-preferred-address-types=InternalIP",
		}},
		{Name: "kube-controller-manager", Path: kubernetes("kube-controller-manager"), Args: []string{
			"--kubeconfig=" + l.pki("controller-manager"),
			"--service-account-private-key-file=" + l.pki("service-accounts.key"),
			"--root-ca-file=" + l.pki("ca.crt"),
			"--cluster-signing-cert-file=" + l.pki("ca.crt"), "--cluster-signing-key-file=" + l.pki("ca.key"),
			"--use-service-account-credentials", "--leader-elect=false", "--node-monitor-period=1s",
			"--flex-volume-plugin-dir=" + flexVolumes,
			"--enable-hostpath-provisioner",
		}},
		{Name: "kube-scheduler", Path: kubernetes("kube-scheduler"), Args: []string{
			"--kubeconfig=" + l.pki("scheduler"), "--leader-elect=false",
		}},
	}
}

func (c cluster) nodeDaemons(n node) []supervisor.Daemon {
	l, p := c.layout, c.programs
	kubernetes := func(name string) string { return filepath.Join(p.Kubernetes, name) }
	apiReady := &supervisor.Endpoint{
		URL:    "https://" + netip.AddrPortFrom(controlPlane.address(), apiPort).String() + "/readyz",
		CAFile: l.pki("ca.crt"),
	}
	return []supervisor.Daemon{
		{Name: "containerd", Path: filepath.Join(p.System.Bin, "containerd"), Args: []string{"--config", l.etc(n, "containerd.toml")}},
		// The kubelet registers its node when it starts, and a failed attempt costs seconds.
		{Name: "kubelet", Path: kubernetes("kubelet"), After: apiReady, Args: []string{
			"--config=" + l.etc(n, "kubelet.json"), "--kubeconfig=" + l.pki("kubelet-"+n.name()), "--hostname-override=" + n.name(),
			"--node-ip=" + list(c.networks(), func(w network) netip.Addr { return w.addressOf(n) }), "--cert-dir=/var/lib/kubelet/pki",
		}},
		{Name: "kube-proxy", Path: kubernetes("kube-proxy"), After: apiReady, Args: []string{
			"--kubeconfig=" + l.pki("kube-proxy"), "--hostname-override=" + n.name(), "--proxy-mode=iptables",
			"--cluster-cidr=" + list(c.networks(), func(w network) netip.Prefix { return w.pods }),
			// These are settings of the whole machine.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
		}},
	}
}
