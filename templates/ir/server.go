package ir

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Server is how the other side of an upstream proves who it is, if it is outside the mesh: by a certificate of a CA for
// a name. The zero value is a peer of the mesh.
type Server struct {
	External bool
	CA       CA
	Name     ServerName
	// PresentSVID says that Envoy presents the SVID if the server asks for a certificate; otherwise it presents none.
	PresentSVID bool
}

// CA is whose certificates are taken. Only [SystemCA] and [ParseCASecret] make one; [Proxy.Validate] refuses the zero
// value.
type CA struct {
	system bool
	secret string
}

// SystemCA are those of Envoy's image: of the public web.
func SystemCA() CA { return CA{system: true} }

// ParseCASecret reads the name of a Secret, whose ca.crt has one CA or several in PEM.
func ParseCASecret(name string) (CA, error) {
	for label := range strings.SplitSeq(name, ".") { // it becomes the name of a file
		if label == "" || strings.ContainsFunc(label, notInLabel) || strings.Trim(label, "-") != label || len(name) > 253 {
			return CA{}, fmt.Errorf("expected the name of a Secret such as db-ca, got %q", name)
		}
	}
	return CA{secret: name}, nil
}

// IsZero says whether nobody made the CA.
func (c CA) IsZero() bool { return c == CA{} }

// Secret is the name of the Secret; empty for the CAs of the system.
func (c CA) Secret() string { return c.secret }

func (c CA) String() string {
	if c.system {
		return "system"
	}
	return "secret " + c.secret
}

// ServerName is what a certificate has to be for. Only [ParseServerName] and [Address.ServerName] make one;
// [Proxy.Validate] refuses the zero value.
type ServerName struct {
	host string // a DNS name in lower case without a final dot, or an IP address
	ip   bool
}

// ParseServerName reads a DNS name, without a wildcard, or an IP address.
func ParseServerName(s string) (ServerName, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return ServerName{host: ip.String(), ip: true}, nil
	}
	name := strings.ToLower(s)
	if problem := dnsNameProblem(name); problem != "" {
		return ServerName{}, fmt.Errorf("expected the name in the server's certificate, such as db.example.org, got %q: %s", s, problem)
	}
	return ServerName{host: strings.TrimSuffix(name, ".")}, nil
}

// ServerName is the host, for which the certificate of a server there usually is.
func (a Address) ServerName() ServerName {
	return ServerName{host: strings.TrimSuffix(a.host, "."), ip: a.ip}
}

// IsZero says whether nobody made the name.
func (n ServerName) IsZero() bool { return n == ServerName{} }

// IsIP says whether it is an IP address, which is never sent as SNI.
func (n ServerName) IsIP() bool { return n.ip }

func (n ServerName) String() string { return n.host }

// MaxCASecrets is how many Secrets with CAs the upstreams of a proxy may name: each is a file of Envoy's configuration.
const MaxCASecrets = 4

// CASecrets are the Secrets that upstreams name, each once, in order.
func (p Proxy) CASecrets() []string {
	var out []string
	for _, up := range p.Upstreams {
		if name := up.Server.CA.Secret(); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// serverChecks are the rules of a service outside the mesh.
func serverChecks() []upstreamCheck {
	return []upstreamCheck{
		{".peers", ServerPeers, func(_ Proxy, up Upstream) string {
			return unless(!up.Server.External || up.Peers == nil,
				"has no effect with tls, where the server has a certificate of a CA instead of an SVID: remove one of both")
		}},
		{".tls.ca", ServerCAMissing, func(_ Proxy, up Upstream) string {
			return unless(!up.Server.External || !up.Server.CA.IsZero(), "expected system or {secret: NAME}, got none")
		}},
		{".tls.ca", TooManyCAs, func(p Proxy, up Upstream) string {
			at := slices.Index(p.CASecrets(), up.Server.CA.Secret())
			return unless(at < MaxCASecrets, "expected CAs from at most %d Secrets in a pod", MaxCASecrets)
		}},
		{".tls.sni", ServerNameMissing, func(_ Proxy, up Upstream) string {
			// An address that is not there either has no host.
			return unless(!up.Server.External || !up.Server.Name.IsZero() || up.Address == Address{},
				"expected the name in the server's certificate, got none")
		}},
	}
}
