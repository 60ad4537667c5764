package check

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// syncDefault is SPIRE's own for the server's cache_reload_interval and for the agent's sync_interval.
const syncDefault = 5 * time.Second

func servers(f Facts) []Finding {
	var out []Finding
	for _, w := range f.Servers {
		if w.Ready < w.Wanted || w.Wanted == 0 {
			out = append(out, found(Error, w.String(), "%d of %s ready", w.Ready, plural(w.Wanted, "SPIRE server")).
				expected("all, and at least one").
				remedy("kubectl -n %s describe pods, and their logs: without a server no new identity comes", w.Namespace))
			continue
		}
		out = append(out, fine(w.String(), "%s ready", plural(w.Ready, "SPIRE server")))
	}
	return orFine(out, found(Warning, "", "no SPIRE server in this cluster").
		expected("one, in the namespace %s or with the image spire-server", f.Names.SPIRE).
		remedy("nothing, if the server is elsewhere: its settings are not checked then. Otherwise name its namespace with "+
			"--spire-namespace"))
}

func serverSettings(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	var out []Finding
	for _, w := range f.Servers {
		config, ok := readConfig(w, "server", p, &out)
		if !ok {
			continue
		}
		before := len(out)
		setting := []string{"server", "experimental", "cache_reload_interval"}
		out = append(out, slowness(w, config, "new entries reach the agents", setting...)...)
		if finding, ok := admin(f, w, config, p); !ok {
			out = append(out, finding)
		}
		if len(out) == before {
			reload := config.duration(syncDefault, setting...)
			out = append(out, fine(w.Config.Where, "the trust domain is %s, the entries are read every %s",
				p.Cluster.TrustDomain.Name(), reload))
		}
	}
	return out
}

// admin says whether the server lets the injector register others. An entry that says "admin" does so too, which
// cannot be seen here.
func admin(f Facts, w Workload, config spireConfig, p intent.Platform) (Finding, bool) {
	if strings.HasPrefix(p.ServerAddress, "unix:") || f.Injector == nil {
		return Finding{}, true // who may open the socket may do everything
	}
	account := f.Injector.Spec.Template.Spec.ServiceAccountName
	id := p.Cluster.TrustDomain.IDString() + "/ns/" + f.Injector.Namespace + "/sa/" + account
	ids := config.all("server", "admin_ids")
	if slices.ContainsFunc(ids, func(v any) bool { s, _ := v.(string); return s == id || strings.Contains(s, "$") }) {
		return Finding{}, true
	}
	return found(Warning, w.Config.Where, "admin_ids does not contain %s", id).
		expected("the injector's own SPIFFE ID in admin_ids, or an entry of its own that says admin").
		remedy("add it to admin_ids, if the injector has that ID; see also spire-calls"), false
}

func agents(f Facts) []Finding {
	if len(f.Agents) == 0 {
		return []Finding{found(Error, "", "no SPIRE agent in this cluster").
			expected("a DaemonSet of them, in the namespace %s or with the image spire-agent", f.Names.SPIRE).
			remedy("install the SPIRE agent; if it is there, name its namespace with --spire-namespace")}
	}
	var out []Finding
	for _, w := range f.Agents {
		if w.Ready < w.Wanted {
			out = append(out, found(Error, w.String(), "%d of %s ready", w.Ready, plural(w.Wanted, "agent")).expected("all").
				remedy("kubectl -n %s describe pods, and the agents' logs: pods on those nodes wait for their certificates",
					w.Namespace))
		}
	}
	nodes := f.agentNodes()
	for _, node := range f.Nodes {
		if nodes[node.Name] || node.Labels[corev1.LabelOSStable] != "linux" {
			continue
		}
		status := Error
		keepsOut := func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }
		if slices.ContainsFunc(node.Spec.Taints, keepsOut) {
			status = Warning // perhaps nothing else runs there either
		}
		out = append(out, found(status, "Node "+node.Name, "no SPIRE agent").expected("an agent on every Linux node").
			remedy("let the agents' DaemonSet tolerate the node's taints and select it: injected pods there never start"))
	}
	return orFine(out, fine("", "%s ready, one on every Linux node", plural(len(nodes), "agent")))
}

// agentNodes are the nodes with a pod of the agents.
func (f Facts) agentNodes() map[string]bool {
	nodes := map[string]bool{}
	for _, pod := range f.AgentPods {
		nodes[pod.Node] = nodes[pod.Node] || slices.ContainsFunc(f.Agents, func(w Workload) bool {
			return w.Namespace == pod.Namespace && (pod.DaemonSet == "" || pod.DaemonSet == w.Name)
		})
	}
	maps.DeleteFunc(nodes, func(_ string, ours bool) bool { return !ours })
	return nodes
}

func agentSettings(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	var out []Finding
	for _, w := range f.Agents {
		config, ok := readConfig(w, "agent", p, &out)
		if !ok {
			continue
		}
		before := len(out)
		if config.isTrue("plugins", "WorkloadAttestor", "k8s", "plugin_data", "disable_container_selectors") {
			out = append(out, found(Error, w.Config.Where, "the workload attestor k8s has disable_container_selectors = true").
				expected("it not to be set").
				remedy("delete it and restart the agents: without the container's name no injected pod gets its identity"))
		}
		out = append(out, slowness(w, config, "agents get new entries", "agent", "experimental", "sync_interval")...)
		out = append(out, attestedCluster(w, config, p)...)
		if len(out) == before {
			sync := config.duration(syncDefault, "agent", "experimental", "sync_interval")
			out = append(out, fine(w.Config.Where, "the trust domain is %s, the entries are fetched every %s",
				p.Cluster.TrustDomain.Name(), sync))
		}
	}
	return out
}

// attestedCluster finds agents that do not have the selector by which the entries' parent selects them.
func attestedCluster(w Workload, config spireConfig, p intent.Platform) []Finding {
	cluster, ok := config.text("plugins", "NodeAttestor", "k8s_psat", "plugin_data", "cluster")
	if !ok {
		return nil
	}
	for _, s := range p.Cluster.NodeSelectors {
		if wanted, is := strings.CutPrefix(s.String(), "k8s_psat:cluster:"); is && wanted != cluster {
			return []Finding{found(Error, w.Config.Where, "the agents attest for the cluster %s", cluster).
				expected("%s, as in spire.nodeSelectors of the platform file", wanted).
				remedy("correct the one that is wrong: these agents get none of the injector's entries")}
		}
	}
	return nil
}

func agentSocket(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	var out []Finding
	if driver := p.AgentSocket.CSI; driver != "" && !slices.Contains(f.CSIDrivers, driver) {
		out = append(out, found(Error, f.Platform.Where, "no CSIDriver %s in this cluster", driver).
			expected("the driver of spire.agentSocket.csi").
			remedy("install the SPIFFE CSI driver, or correct the platform file: injected pods cannot mount the agent's socket"))
	}
	for _, w := range f.Agents {
		config, err := w.config()
		if err != nil || !sameTrustDomain(config, "agent", p) {
			continue
		}
		socket, known := socketPath(config)
		if !known {
			continue
		}
		if file := path.Base(socket); file != p.AgentSocket.File {
			out = append(out, found(Error, w.Config.Where, "the agent's socket is the file %s", file).
				expected("%s, as in spire.agentSocket.file of the platform file", p.AgentSocket.File).
				remedy("correct the one that is wrong: Envoy does not find the agent"))
		}
		onNode, ofNode := hostPathOf(w.Spec, w.Container, path.Dir(socket))
		switch {
		case !ofNode:
			out = append(out, found(Error, w.String(), "the socket's directory %s is not one of the node", path.Dir(socket)).
				expected("a hostPath volume").
				remedy("mount one in the agent: what it makes there cannot be reached from other pods"))
		case p.AgentSocket.CSI == "" && path.Clean(p.AgentSocket.HostPath) != onNode:
			out = append(out, found(Error, w.Config.Where, "the agent's socket is in %s on the node", onNode).
				expected("%s, as in spire.agentSocket.hostPath of the platform file", p.AgentSocket.HostPath).
				remedy("correct the one that is wrong: Envoy does not find the agent"))
		}
	}
	where := p.AgentSocket.HostPath
	if p.AgentSocket.CSI != "" {
		where = "the driver " + p.AgentSocket.CSI
	}
	return orFine(out, fine("", "agents and injected pods meet in %s, at %s", where, p.AgentSocket.File))
}

// socketPath is where an agent makes its socket. One that comes from the environment is not known.
func socketPath(config spireConfig) (socket string, known bool) {
	if socket, known = config.text("agent", "socket_path"); socket == "" {
		return "/tmp/spire-agent/public/api.sock", true // SPIRE's own
	}
	return socket, known
}

// readConfig reads the configuration of a server or an agent.
func readConfig(w Workload, of string, p intent.Platform, out *[]Finding) (spireConfig, bool) {
	config, err := w.config()
	if err != nil {
		*out = append(*out, found(Warning, w.String(), "its configuration cannot be read: %v", err).
			expected("a file in a ConfigMap").
			remedy("see yourself that the %s's trust domain, intervals and plugins are as the README has them", of))
		return config, false
	}
	if sameTrustDomain(config, of, p) {
		return config, true
	}
	td, _ := config.text(of, "trust_domain")
	*out = append(*out, found(Error, w.Config.Where, "the trust domain is %s", td).
		expected("%s, as in the platform file", p.Cluster.TrustDomain.Name()).
		remedy("correct the one that is wrong: no identity of another trust domain can be registered"))
	return config, false
}

// sameTrustDomain also says so of one that is not known.
func sameTrustDomain(config spireConfig, of string, p intent.Platform) bool {
	td, known := config.text(of, "trust_domain")
	return !known && td != "" || strings.TrimPrefix(td, "spiffe://") == p.Cluster.TrustDomain.Name()
}

// slowness finds an interval that is longer than SPIRE's own.
func slowness(w Workload, config spireConfig, what string, setting ...string) []Finding {
	interval := config.duration(syncDefault, setting...)
	if interval <= syncDefault {
		return nil
	}
	more := interval - syncDefault
	return []Finding{found(Warning, w.Config.Where, "%s is %s: %s up to %s later than with SPIRE's default",
		setting[len(setting)-1], interval, what, more).
		expected("%s or less; with 1s a new pod waits least", syncDefault).
		remedy("lower it: a pod with a new identity starts up to %s later, and half of that on average", more)}
}
