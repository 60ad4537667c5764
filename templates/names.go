package templates

import (
	"fmt"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Names of listeners and clusters are in statistics and logs, so people read them: what it is, and its port.

func inboundListener(in ir.Inbound) string { return fmt.Sprintf("inbound_%d", in.Listen) }

// plainStats are the statistics of callers in plain text on a port that also takes mutual TLS.
func plainStats(in ir.Inbound) string { return fmt.Sprintf("plain_%d", in.Listen) }

func appCluster(in ir.Inbound) string { return fmt.Sprintf("app_%d", in.App) }

// upstreamCluster is the name of its listener too, for an upstream that has one to itself.
func upstreamCluster(up ir.Upstream) string {
	switch {
	case !up.Match.IsZero():
		return "route_" + up.Match.String()
	case !up.Name.IsZero(): // several names may have one port
		ip, port := up.Socket()
		return fmt.Sprintf("%s%s:%d", upstreamPrefix, ip, port)
	}
	return fmt.Sprintf("%s%d", upstreamPrefix, up.Listen)
}

// upstreamStats is the cluster's name in statistics, where a dot would end it.
func upstreamStats(up ir.Upstream) string {
	name := ""
	switch {
	case !up.Match.IsZero():
		name = upstreamCluster(up)
	case !up.Name.IsZero():
		name = upstreamPrefix + up.Name.At(up.Listen)
	}
	return strings.ReplaceAll(name, ".", "_")
}

// upstreamPrefix, followed by its port, is the cluster of an upstream that the app reaches on a port.
const upstreamPrefix = "upstream_"
