package check

import (
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// nearness is how far a workload of SPIRE's belongs to the injector.
type nearness int

const (
	otherDomain nearness = iota // of another trust domain
	otherServer                 // of the same one, which several servers may serve
	unknown
	own // it is, or leads to, the server that the injector calls, or its socket is the one that is injected
)

// ours are the facts without what belongs to another SPIRE in the same cluster. That is of the same trust domain
// where servers are nested.
func (f Facts) ours() Facts {
	p, ok := f.platform()
	if !ok {
		return f
	}
	var servers, agents []Workload
	f.Servers, servers = nearest(f.Servers, func(w Workload) nearness { return f.serverIs(w, p) })
	f.Agents, agents = nearest(f.Agents, func(w Workload) nearness { return f.agentIs(w, p) })
	f.Others = slices.Concat(servers, agents)
	// A spire-controller-manager works for the server in its pod.
	f.Managers = slices.DeleteFunc(slices.Clone(f.Managers), func(w Workload) bool {
		return slices.ContainsFunc(servers, w.same)
	})
	return f
}

// otherSPIREs names what the other checks pass over.
func otherSPIREs(f Facts) []Finding {
	if _, ok := f.platform(); !ok {
		return nil
	}
	if len(f.Others) == 0 {
		return []Finding{fine("", "no other SPIRE in this cluster")}
	}
	names := make([]string, len(f.Others))
	for i, w := range f.Others {
		names[i] = w.String()
	}
	return []Finding{fine("", "not the injector's, and passed over: %s", strings.Join(names, ", "))}
}

// nearest leaves out what is of another trust domain if something may belong to the injector, and what is of another
// server if something does: when nothing does, it is perhaps the platform file that is wrong.
func nearest(all []Workload, is func(Workload) nearness) (kept, others []Workload) {
	best := otherDomain
	for _, w := range all {
		best = max(best, is(w))
	}
	for _, w := range all {
		if n := is(w); n == otherDomain && best > n || n == otherServer && best == own {
			others = append(others, w)
			continue
		}
		kept = append(kept, w)
	}
	return kept, others
}

func (f Facts) serverIs(w Workload, p intent.Platform) nearness {
	if config, err := w.config(); err == nil && !sameTrustDomain(config, "server", p) {
		return otherDomain
	}
	at, ok := f.serviceAt(serverHost(p), f.Injector.Namespace)
	switch {
	case !ok || f.Service != nil && len(f.Service.Spec.Selector) == 0:
		return unknown // it is not in this cluster, or leads anywhere
	case w.Namespace != at.namespace || f.Service != nil && !selects(f.Service, w.Labels):
		return otherServer
	}
	return own
}

// selects says whether a Service leads to pods with labels.
func selects(s *corev1.Service, labels map[string]string) bool {
	return k8slabels.SelectorFromSet(s.Spec.Selector).Matches(k8slabels.Set(labels))
}

func (f Facts) agentIs(w Workload, p intent.Platform) nearness {
	config, err := w.config()
	if err != nil {
		return unknown
	}
	if !sameTrustDomain(config, "agent", p) {
		return otherDomain
	}
	host, known := config.text("agent", "server_address")
	wanted := serverHost(p)
	if known && wanted != "" && f.endpoint(host, w.Namespace) == f.endpoint(wanted, f.Injector.Namespace) {
		return own
	}
	if socket, ok := socketPath(config); ok && p.AgentSocket.CSI == "" {
		directory, ok := hostPathOf(w.Spec, w.Container, path.Dir(socket))
		if ok && directory == path.Clean(p.AgentSocket.HostPath) {
			return own
		}
	}
	if !known || wanted == "" {
		return unknown
	}
	return otherServer
}

// serverHost is the host of the platform's SPIRE server, empty for a socket.
func serverHost(p intent.Platform) string {
	host, _, err := net.SplitHostPort(p.ServerAddress)
	if err != nil || strings.HasPrefix(p.ServerAddress, "unix:") {
		return ""
	}
	return host
}

// service is a Service of this cluster.
type service struct{ namespace, name string }

// serviceAt is the Service that has a host name, as pods of a namespace resolve it.
func (f Facts) serviceAt(host, from string) (service, bool) {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	switch {
	case host == "" || net.ParseIP(host) != nil:
		return service{}, false
	case len(labels) == 1:
		return service{from, labels[0]}, true
	case len(labels) == 2 && slices.Contains(f.namespaceNames(), labels[1]), len(labels) > 2 && labels[2] == "svc":
		return service{labels[1], labels[0]}, true
	}
	return service{}, false
}

// endpoint is one text for all ways to write a host name.
func (f Facts) endpoint(host, from string) string {
	if s, ok := f.serviceAt(host, from); ok {
		return s.name + "." + s.namespace + ".svc"
	}
	return strings.ToLower(host)
}
