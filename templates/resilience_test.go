package templates

import (
	"slices"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// everyResilience says all that an upstream can say.
func everyResilience() ir.Resilience {
	return ir.Resilience{
		Timeout: 30 * time.Second, ConnectTimeout: 2 * time.Second, IdleTimeout: time.Minute, MaxConnections: 100,
		Retries:  ir.Retries{Attempts: 2, On: []string{"5xx", "reset"}, PerTryTimeout: 5 * time.Second},
		Outliers: ir.DefaultOutlierDetection(),
	}
}

// TestNothingSentIsTriedAgain: a retry that nobody asked for is of what was never sent.
func TestNothingSentIsTriedAgain(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		asked := false
		for _, up := range proxy.Upstreams {
			asked = asked || len(up.Resilience.Retries.On) > 0
		}
		for _, policy := range all[*routev3.RetryPolicy](t, name, proxy) {
			if policy.RetryOn != "connect-failure,refused-stream" && !asked {
				t.Errorf("retried on %q", policy.RetryOn)
			}
		}
	})
}

// TestGonePeersAreLookedFor: on connections of callers and to upstreams, and nothing is done that ends a connection whose
// reader has paused, or that a gRPC server denies.
func TestGonePeersAreLookedFor(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			if inbound := listener.TrafficDirection == corev3.TrafficDirection_INBOUND; inbound != (listener.TcpKeepalive != nil) {
				t.Errorf("%s: keepalive %v", listener.Name, listener.TcpKeepalive)
			}
			for _, option := range listener.SocketOptions {
				t.Errorf("%s: socket option %v", listener.Name, option)
			}
		}
		for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
			visit(t, cluster, func(m proto.Message) {
				if options, ok := m.(*corev3.Http2ProtocolOptions); ok && options.ConnectionKeepalive != nil {
					t.Errorf("%s: pings an upstream", cluster.Name)
				}
			})
		}
		for _, shared := range all[*bootstrapv3.ClusterManager](t, name, proxy) {
			if slices.ContainsFunc(shared.UpstreamBindConfig.SocketOptions, func(o *corev3.SocketOption) bool { return o.Name == tcpUserTimeout }) {
				t.Error("HTTP/1 and TCP have a bound on paused readers")
			}
		}
		for _, up := range proxy.Upstreams {
			for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
				own := cluster.GetUpstreamBindConfig() != nil
				if cluster.Name == upstreamCluster(up) && own != up.Protocol.IsHTTP2() {
					t.Errorf("%s, which speaks %s, has socket options %v", cluster.Name, up.Protocol, cluster.UpstreamBindConfig)
				}
			}
		}
	})
}
