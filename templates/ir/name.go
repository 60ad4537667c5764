package ir

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Name is what an app calls something by, and what its pod leads to Envoy: a Service of the cluster, or a pod behind a
// headless one, in all its spellings, or another name as it is. Only [ParseName] makes one; the zero value is none.
type Name struct {
	service   string // of the cluster: api, or db-0.db for a pod behind the Service db; empty for another name
	namespace string
	local     bool   // the namespace is that of the caller
	domain    string // of the cluster; empty where it is not known
	other     string
}

// ParseName reads NAME:PORT, as a pod of a namespace calls it in a cluster with this domain, empty if that is not known:
//
//	api:8080                        the Service of the own namespace
//	api.shop:8080, api.shop.svc:80  that of another one, or its full name
//	db-0.db.shop.svc:5432           a pod behind a headless Service
//	api.example.org:80              a name outside the cluster
//
// A name of two labels is that of a Service and its namespace.
func ParseName(s, namespace, clusterDomain string) (Name, uint16, error) {
	const want = `expected a port on 127.0.0.1 such as 8000, or a name with a port that the app calls such as "api:8080"`
	if _, after, ok := strings.Cut(s, "://"); ok {
		return Name{}, 0, fmt.Errorf("%s, without a scheme: %q", want, after)
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Name{}, 0, fmt.Errorf("%s, got %q", want, s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Name{}, 0, fmt.Errorf("%s, got %q: the port is from 1 to 65535", want, s)
	}
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return Name{}, 0, fmt.Errorf("%s, got %q: for 127.0.0.1 write listen: %d", want, s, port)
	}
	if dotless, ok := strings.CutSuffix(host, "."); ok {
		return Name{}, 0, fmt.Errorf("%s, got %q: without its final dot, with which an app asks DNS, and comes past Envoy; did you mean %q?",
			want, s, net.JoinHostPort(dotless, portText))
	}
	if problem := dnsNameProblem(host); problem != "" {
		return Name{}, 0, fmt.Errorf("%s, got %q: %s", want, s, problem)
	}
	return nameOfHost(host, namespace, clusterDomain), uint16(port), nil
}

func nameOfHost(host, namespace, clusterDomain string) Name {
	labels := strings.Split(host, ".")
	in := func(n int, namespace string) Name {
		return Name{service: strings.Join(labels[:n], "."), namespace: namespace, domain: clusterDomain}
	}
	// after says whether what follows so many labels is the name of the cluster's Services.
	after := func(n int) bool {
		if len(labels) <= n || labels[n] != "svc" {
			return false
		}
		rest := strings.Join(labels[n+1:], ".")
		return rest == "" || rest == clusterDomain
	}
	name := Name{other: host}
	switch {
	case len(labels) == 1:
		name = in(1, namespace)
	case len(labels) == 2:
		name = in(1, labels[1])
	case after(2):
		name = in(1, labels[1])
	case after(3):
		name = in(2, labels[2])
	}
	name.local = name.service != "" && name.namespace == namespace
	return name
}

// IsZero says whether there is no name.
func (n Name) IsZero() bool { return n == Name{} }

// String is the same for all spellings of a name.
func (n Name) String() string {
	if n.service == "" {
		return n.other
	}
	return n.service + "." + n.namespace
}

// At is the name with a port.
func (n Name) At(port uint16) string { return net.JoinHostPort(n.String(), strconv.Itoa(int(port))) }

// Spellings are those by which a pod may call it, the full name first.
func (n Name) Spellings() []string {
	if n.service == "" {
		return []string{n.other}
	}
	short := n.String()
	all := []string{short + ".svc." + n.domain, short + ".svc", short}
	if n.local {
		all = append(all, n.service)
	}
	return all
}

// Address is where the name leads without Envoy.
func (n Name) Address(port uint16) Address {
	if n.service == "" {
		return Address{host: n.other, port: port}
	}
	return Address{host: n.String() + ".svc", port: port}
}

// is says whether a host is a spelling of the name.
func (n Name) is(host string) bool {
	if n.service == "" {
		return host == n.other && host != ""
	}
	rest, ok := strings.CutPrefix(host, n.service)
	if rest == "" {
		return ok && n.local
	}
	if rest, ok = strings.CutPrefix(rest, "."+n.namespace); !ok || rest == "" {
		return ok
	}
	rest, ok = strings.CutPrefix(rest, ".svc")
	return ok && (rest == "" || n.domain != "" && rest == "."+n.domain)
}

// absolute is the name by which DNS is asked for it. Without the final dot Envoy would find itself, in the pod's aliases.
func (n Name) absolute() string {
	if n.service == "" {
		return n.other + "."
	}
	return n.String() + ".svc." + n.domain + "."
}

// NamedHost is the address of loopback that stands for a name in a pod.
type NamedHost struct {
	Name Name
	IP   string
}

// NamedHosts are the names of all upstreams, each once, with addresses that depend on nothing but the names.
func (p Proxy) NamedHosts() []NamedHost {
	var names []Name
	for _, up := range p.Upstreams {
		if !up.Name.IsZero() {
			names = append(names, up.Name)
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	names = slices.Compact(names)
	hosts := make([]NamedHost, len(names))
	for i, name := range names {
		hosts[i] = NamedHost{name, IPOfName(i)}
	}
	return hosts
}

// IPOfName is the address of loopback of a pod's nth name, counted from 0.
func IPOfName(n int) string {
	const perNet = 254
	return fmt.Sprintf("127.0.%d.%d", 1+n/perNet, 1+n%perNet)
}

// PlaceNames gives the upstreams with a name their addresses of loopback, and ports behind those that the app may have
// itself. It needs all other ports of the proxy.
func (p *Proxy) PlaceNames() {
	ips := map[Name]string{}
	for _, host := range p.NamedHosts() {
		ips[host.Name] = host.IP
	}
	for i := range p.Upstreams {
		p.Upstreams[i].Loopback = ips[p.Upstreams[i].Name]
	}
	p.placeBehind(func(up Upstream) bool { return p.declares(up.Listen) })
}

// LeadRestOfNames has the rules of a captured pod lead all TCP connections to its names to Envoy: those for upstreams to
// their listeners, wherever the app itself listens, and the rest to one. It comes after [Proxy.PlaceNames].
func (p *Proxy) LeadRestOfNames() {
	if !p.Captured || len(p.NamedHosts()) == 0 {
		return
	}
	p.Upstreams = slices.Clone(p.Upstreams)
	for i := range p.Upstreams {
		p.Upstreams[i].Passthrough = nil // which is of the rest
	}
	p.RestOfNames = p.placeBehind(func(Upstream) bool { return true })
}

// declares says whether a container declares a port.
func (p Proxy) declares(port uint16) bool {
	return slices.ContainsFunc(p.AppPorts, func(app AppPort) bool { return app.Port == port })
}

// firstBehind is the first port for [Upstream.Behind].
const firstBehind = 15500

// placeBehind gives upstreams with names of a captured pod their ports, and returns the next one. It depends on the ports
// that there are, and not on the order of the upstreams: a running pod keeps its rules.
func (p *Proxy) placeBehind(which func(Upstream) bool) (next uint16) {
	if !p.Captured {
		return 0
	}
	taken := map[uint16]bool{p.Metrics.Port: true}
	for _, app := range p.AppPorts {
		taken[app.Port] = true
	}
	for _, in := range p.Inbound {
		taken[in.Listen] = true
	}
	var placed []*Upstream
	for i := range p.Upstreams {
		up := &p.Upstreams[i]
		if up.Name.IsZero() {
			taken[up.Listen] = true
		} else if which(*up) {
			placed = append(placed, up)
		}
	}
	slices.SortStableFunc(placed, func(a, b *Upstream) int {
		return cmp.Or(strings.Compare(a.Name.String(), b.Name.String()), cmp.Compare(a.Listen, b.Listen))
	})
	free := func() uint16 {
		for next = max(next, firstBehind); taken[next]; next++ {
		}
		return next
	}
	for _, up := range placed {
		up.Behind = free()
		taken[up.Behind] = true
	}
	return free()
}

// ListenIP is the address of loopback that the app calls for the upstream.
func (up Upstream) ListenIP() string {
	if up.Name.IsZero() {
		return loopback
	}
	return up.Loopback
}

// Socket is where Envoy listens for the app's calls to the upstream.
func (up Upstream) Socket() (ip string, port uint16) {
	if up.Behind != 0 {
		return loopback, up.Behind
	}
	return up.ListenIP(), up.Listen
}

// Called is what the app calls, for people.
func (up Upstream) Called() string {
	if up.Name.IsZero() {
		return net.JoinHostPort(loopback, strconv.Itoa(int(up.Listen)))
	}
	return up.Name.At(up.Listen)
}
