package templates

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// In the pod a name stands for one address of loopback, whatever port is asked for. Ports that are not for mutual TLS
// have to be served there too: their bytes go on to where the name leads without Envoy.

func passthroughName(up ir.Upstream, port uint16) string {
	return fmt.Sprintf("passthrough_%s:%d", up.Loopback, port)
}

// passedThrough are the listeners for the further ports of an upstream's name.
func passedThrough(up ir.Upstream) []*listenerv3.Listener {
	var out []*listenerv3.Listener
	for _, port := range up.Passthrough {
		name := passthroughName(up, port)
		tcp := transparentTCP(name, name)
		tcp.AccessLog = []*accesslogv3.AccessLog{upstreamConnectionLog(name)}
		withstandConnections(tcp, ir.Resilience{})
		out = append(out, &listenerv3.Listener{
			Name:             name,
			Address:          socketAddress(up.Loopback, port),
			TrafficDirection: corev3.TrafficDirection_OUTBOUND,
			FilterChains: []*listenerv3.FilterChain{
				readinessProbeChain(),
				{Name: name, Filters: []*listenerv3.Filter{networkFilter(tcpFilter, tcp)}},
			},
		})
	}
	return out
}

func (p envoy) passthroughClusters(up ir.Upstream) []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	for _, port := range up.Passthrough {
		name, plain := passthroughName(up, port), ir.Upstream{Address: up.Name.Address(port), Protocol: ir.TCP}
		cluster := &clusterv3.Cluster{
			Name:                 name,
			ClusterDiscoveryType: p.lookUp(plain),
			CircuitBreakers:      unlimited(),
			LoadAssignment:       endpoints(name, socketAddress(p.LookedUp(plain.Address), port)),
		}
		withstand(cluster, plain)
		out = append(out, cluster)
	}
	return out
}
