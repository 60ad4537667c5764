package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
)

// spireFields are those of spire: the server, the agents' socket, and the trust domains to federate with.
var spireFields = []platformField{
	{name: "server", fields: []platformField{{
		name:    "address",
		doc:     "address of the SPIRE server: unix:///path, or host:port, where the injector presents its own admin SVID",
		without: required,
		schema:  patternSchema("^(unix:///.+/.+|[^/:]+:[0-9]+)$"),
		parse:   one(parseServerAddress),
	}}},
	{name: "agentSocket", fields: agentSocketFields},
	{
		name:    "nodeSelectors",
		doc:     "which nodes' agents may serve this cluster's workloads",
		without: "k8s_psat:cluster:CLUSTERNAME",
		schema:  listSchema(patternSchema("^[^:]+:.+$")),
		parse:   parseNodeSelectors,
	},
	{
		name: "entryScope",
		doc: "which agents are authorized for an identity: those of the nodes that its pods run on (node), which takes " +
			"k8s_psat, or those of all nodes that nodeSelectors match (cluster)",
		standard: string(registrar.ScopeNode),
		schema:   enumSchema(string(registrar.ScopeNode), string(registrar.ScopeCluster)),
		parse:    one(parseEntryScope),
	},
	{
		name: "prewarm",
		doc: "Deployments, StatefulSets, DaemonSets, Jobs and CronJobs have their identities registered before there " +
			"are pods, on no node; needs the rights of manifests/injector/components/prewarm",
		without: "pods alone have",
		schema:  booleanSchema,
		parse: one(func(p *Platform, v bool) error {
			p.Prewarm = v
			return nil
		}),
	},
	{
		name: "onUnavailable",
		doc: "while SPIRE does not answer, a pod with an identity that is not registered yet is denied (deny), " +
			"or waits for its certificate (admit)",
		standard: string(Deny),
		schema:   enumSchema(string(Admit), string(Deny)),
		parse: one(func(p *Platform, v string) error {
			p.OnUnavailable = OnUnavailable(v)
			return expectOneOf(v, string(Admit), string(Deny))
		}),
	},
	{
		name: "federation",
		doc: "foreign trust domains whose bundles SPIRE fetches at an interval; " +
			"a relationship that is removed from the list stays in SPIRE",
		without: "none",
		fields:  federationFields,
		item:    func(p *Platform) { p.Federation = append(p.Federation, registrar.Federated{}) },
	},
}

var agentSocketFields = []platformField{
	{
		name: "csi",
		doc: "CSI driver that mounts the directory of the agent's Workload API socket, such as csi.spiffe.io; " +
			"passes Pod Security restricted",
		without: "one of csi and hostPath",
		schema:  patternSchema("^[a-z0-9.-]+$"),
		parse: one(func(p *Platform, driver string) error {
			p.AgentSocket.CSI = driver
			if driver != "" && len(validation.IsDNS1123Subdomain(driver)) > 0 {
				return fmt.Errorf("expected the name of a CSI driver such as csi.spiffe.io, got %q", driver)
			}
			return nil
		}),
	},
	{
		name:    "hostPath",
		doc:     "directory on the nodes that holds that socket",
		without: "one of csi and hostPath",
		schema:  patternSchema("^/[A-Za-z0-9._/-]+$"),
		parse: one(func(p *Platform, directory string) error {
			p.AgentSocket.HostPath = directory
			switch hasCSI := p.AgentSocket.CSI != ""; {
			case hasCSI && directory != "":
				return errors.New("expected one of hostPath and csi, got both")
			case !hasCSI && !path.IsAbs(directory):
				return fmt.Errorf("expected the absolute path of the directory that holds the agent's socket, got %q", directory)
			}
			return nil
		}),
	},
	{
		name:    "file",
		doc:     "name of the socket in that directory",
		without: required,
		schema:  patternSchema("^[A-Za-z0-9._-]+$"),
		parse: one(func(p *Platform, file string) error {
			p.AgentSocket.File = file
			if file == "" || strings.Contains(file, "/") {
				return fmt.Errorf("expected the socket's file name inside that directory, such as agent.sock, got %q", file)
			}
			return nil
		}),
	},
}

// Bounds of the time between two fetches of a bundle.
const (
	minBundleRefresh = 10 * time.Second
	maxBundleRefresh = 24 * time.Hour
)

var federationFields = []platformField{
	{
		name:    "trustDomain",
		doc:     "foreign trust domain, such as auxiliary.org",
		without: required,
		schema:  stringSchema,
		parse:   one(parseForeignDomain),
	},
	{
		name:    "bundleEndpoint",
		doc:     "https URL of its bundle",
		without: required,
		schema:  patternSchema("^https://"),
		parse: one(func(p *Platform, url string) error {
			lastFederated(p).BundleEndpointURL = url
			if err := registrar.CheckBundleEndpoint(url); err != nil {
				return fmt.Errorf("%w, got %q", err, url)
			}
			return nil
		}),
	},
	{
		name: "profile",
		doc: fmt.Sprintf("how its server is authenticated: %s, by a certificate of the public web, or %s, by an SVID; "+
			"if that is one of the foreign trust domain itself, SPIRE has to be given the first bundle "+
			"(spire-server bundle set)",
			registrar.HTTPSWeb, registrar.HTTPSSPIFFE),
		standard: string(registrar.HTTPSWeb),
		schema:   enumSchema(string(registrar.HTTPSWeb), string(registrar.HTTPSSPIFFE)),
		parse: one(func(p *Platform, v string) error {
			lastFederated(p).Profile = registrar.EndpointProfile(v)
			return expectOneOf(v, string(registrar.HTTPSWeb), string(registrar.HTTPSSPIFFE))
		}),
	},
	{
		name: "endpointSPIFFEID",
		doc: fmt.Sprintf("SPIFFE ID of that server under %s, such as spiffe://auxiliary.org/spire/server",
			registrar.HTTPSSPIFFE),
		without: "required there",
		schema:  patternSchema("^spiffe://"),
		parse:   one(parseEndpointSPIFFEID),
	},
	{
		name:     "refresh",
		doc:      "time between two fetches, 10s to 24h",
		standard: "5m",
		schema:   durationSchema,
		parse: one(func(p *Platform, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < minBundleRefresh || d > maxBundleRefresh {
				return fmt.Errorf("expected a duration from %s to %s, got %q", minBundleRefresh, maxBundleRefresh, v)
			}
			lastFederated(p).Refresh = d
			return nil
		}),
	},
}

// lastFederated is the relationship that is being read.
func lastFederated(p *Platform) *registrar.Federated { return &p.Federation[len(p.Federation)-1] }

func parseServerAddress(p *Platform, address string) error {
	p.ServerAddress = address
	if !isServerAddress(address) {
		return fmt.Errorf("expected unix:///path or host:port of the SPIRE server, got %q", address)
	}
	return nil
}

func isServerAddress(s string) bool {
	if socket, ok := strings.CutPrefix(s, "unix://"); ok {
		return path.IsAbs(socket)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func parseNodeSelectors(p *Platform, raw json.RawMessage) []problem {
	var selectors []registrar.Selector
	problems := each(func(_ *Platform, item string) error {
		selector, err := registrar.ParseSelector(item)
		selectors = append(selectors, selector)
		return err
	})(p, raw)
	if len(problems) > 0 || p.Cluster.Name == "" {
		return problems
	}
	cluster, err := registrar.NewCluster(p.Cluster.Name, p.Cluster.TrustDomain, selectors...)
	p.Cluster = cluster
	return whole(err)
}

func parseEntryScope(p *Platform, v string) error {
	p.Cluster.Scope = registrar.Scope(v)
	if err := expectOneOf(v, string(registrar.ScopeNode), string(registrar.ScopeCluster)); err != nil {
		return err
	}
	for _, s := range p.Cluster.NodeSelectors {
		if v == string(registrar.ScopeNode) && s.Type != "k8s_psat" {
			return fmt.Errorf("%s takes nodes that attest by k8s_psat, which tells SPIRE their UIDs, and spire.nodeSelectors "+
				"has %s: expected %s", v, s, registrar.ScopeCluster)
		}
	}
	return nil
}

func parseForeignDomain(p *Platform, name string) error {
	domains, errs := parseFederated(p.Cluster.TrustDomain, []string{name})
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	isSame := func(f registrar.Federated) bool { return f.TrustDomain == domains[0] }
	if other := slices.IndexFunc(p.Federation, isSame); other >= 0 {
		return fmt.Errorf("%s is that of spire.federation[%d] already, expected one relationship for each trust domain",
			name, other)
	}
	lastFederated(p).TrustDomain = domains[0]
	return nil
}

func parseEndpointSPIFFEID(p *Platform, text string) error {
	switch f := lastFederated(p); {
	case f.Profile == registrar.HTTPSSPIFFE:
		id, err := spiffeid.FromString(text)
		if err != nil {
			return fmt.Errorf("expected the SPIFFE ID of the server at the bundle endpoint, such as "+
				"spiffe://auxiliary.org/spire/server, got %q: %w", text, err)
		}
		f.EndpointSPIFFEID = id
	case f.Profile == registrar.HTTPSWeb && text != "":
		return fmt.Errorf("only a server with profile %s has one, got %q with %s", registrar.HTTPSSPIFFE, text, f.Profile)
	}
	return nil
}
