package ir

import (
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxSocketPath is what fits a Unix socket address on Linux, without its final zero byte.
	maxSocketPath = 107
	minSVIDTTL    = 2 * time.Second
)

// MinMemoryLimit is the least memory in bytes with which Envoy starts and serves: without a caller it takes some 30 MiB.
const MinMemoryLimit = 48 << 20

// Validate returns every rule that the proxy breaks, field by field in the order of the model; none means that its
// Envoy can be configured.
func (p Proxy) Validate() []Problem {
	var found problems
	p.checkWhole(&found)
	p.checkTracing(&found)
	ports := p.checkPorts(&found)
	p.checkInbound(&found, ports)
	p.checkCaptured(&found)
	p.checkUpstreams(&found)
	p.checkProbes(&found, ports)
	return found
}

func (p Proxy) checkWhole(found *problems) {
	if p.ID.IsZero() || p.ID.Path() == "" {
		found.tell("id", IDMissing, "expected a SPIFFE ID with a path, got %q", p.ID.String())
	}
	if p.SVIDTTL < minSVIDTTL {
		found.tell("svidTTL", TTLTooShort, "expected an SVID TTL of at least %s, got %s", minSVIDTTL, p.SVIDTTL)
	}
	if s := p.AgentSocket; !path.IsAbs(s) || !utf8.ValidString(s) || len(s) > maxSocketPath {
		found.tell(
			"agentSocket",
			SocketPath,
			"expected the agent socket's absolute path in at most %d bytes, got %q",
			maxSocketPath,
			s,
		)
	}
	if p.MemoryLimit != 0 && p.MemoryLimit < MinMemoryLimit {
		found.tell("memoryLimit", MemoryTooSmall, "expected a memory limit of at least %dMi for Envoy, or none, got %d bytes",
			MinMemoryLimit>>20, p.MemoryLimit)
	}
	if !p.IPFamily.valid() {
		found.tell("ipFamily", UnknownValue, "expected a known family of IP addresses, got %s", p.IPFamily)
	}
	if p.ClusterDomain != "" && dnsNameProblem(p.ClusterDomain) != "" {
		found.tell("clusterDomain", UnknownValue, "expected a domain such as cluster.local, got %q", p.ClusterDomain)
	}
	if p.Drain < 0 {
		found.tell("drain", DrainNegative, "expected a drain time of 0s or more, got %s", p.Drain)
	}
	switch {
	case p.Gateway && (len(p.Inbound) == 0 || len(p.Upstreams) == 0):
		found.tell(
			"",
			GatewayIncomplete,
			"expected inbound and upstreams for a gateway: where it listens, and where requests go",
		)
	case len(p.Inbound)+len(p.Upstreams) == 0:
		found.tell(
			"",
			NothingToDo,
			"expected an inbound listener, an upstream or both, got neither: the sidecar would have nothing to do",
		)
	}
	for i, prefix := range p.Metrics.Include {
		if prefix == "" || !isPrintable(prefix) {
			found.tell(fmt.Sprintf("metrics.include[%d]", i), StatisticName,
				"expected the beginning of a statistic's name in printable ASCII, got %q", prefix)
		}
	}
}

// isRequestTarget says whether s can stand in a request line.
func isRequestTarget(s string) bool { return strings.HasPrefix(s, "/") && isPrintable(s) }

// isPrintable says whether s is of visible ASCII characters only.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
