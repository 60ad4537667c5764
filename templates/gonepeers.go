package templates

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// A peer whose node or link is gone says nothing, so somebody has to ask. The app's own questions, by TCP keepalive or
// HTTP/2 pings, end at the Envoy beside it: Envoy asks in its place, and ends what it gets no answer to after goneAfter.
//
// The kernel asks on connections that rest. While data is under way it does not, but sends that again, for a quarter of
// an hour; TCP_USER_TIMEOUT would end this, and with it each connection whose reader has paused for longer, which is the
// reader's right. So it is only for HTTP/2 to upstreams, where a paused reader holds up its own stream and nobody stops
// reading a connection. Callers are asked by HTTP/2 pings there. Upstreams are not: gRPC servers end connections of
// clients that ping more often than each five minutes.
const (
	goneAfter = probeAfter + probes*probeInterval

	probeAfter    = 10 * time.Second // without a byte
	probeInterval = 2 * time.Second
	probes        = 5
	// publicProbeAfter spares the batteries of clients.
	publicProbeAfter = time.Minute
)

// askUpstreams is for all clusters that have no bind configuration of their own: written once, it does not count for each
// of many upstreams.
func askUpstreams() *bootstrapv3.ClusterManager {
	return &bootstrapv3.ClusterManager{UpstreamBindConfig: &corev3.BindConfig{SocketOptions: probeOptions()}}
}

// askUpstream is for an upstream over HTTP/2, also while data is under way.
func askUpstream(cluster *clusterv3.Cluster, up ir.Upstream) {
	if up.Protocol.IsHTTP2() {
		cluster.UpstreamBindConfig = &corev3.BindConfig{SocketOptions: append(
			probeOptions(),
			socketOption(ipprotoTCP, tcpUserTimeout, goneAfter.Milliseconds()),
		)}
	}
}

// askNobody is for a cluster that is no address: a Unix socket has no such options.
func askNobody(cluster *clusterv3.Cluster) *clusterv3.Cluster {
	cluster.UpstreamBindConfig = &corev3.BindConfig{}
	return cluster
}

// askCallers is for the connections of a port.
func askCallers(listener *listenerv3.Listener, in ir.Inbound) {
	after := probeAfter
	if in.Public() {
		after = publicProbeAfter
	}
	listener.TcpKeepalive = &corev3.TcpKeepalive{
		KeepaliveProbes:   count(probes),
		KeepaliveTime:     count(uint32(after.Seconds())),
		KeepaliveInterval: count(uint32(probeInterval / time.Second)),
	}
}

// pingCallers is for callers of the mesh that speak HTTP/2. For others there are limits.
func pingCallers(manager *hcmv3.HttpConnectionManager, in ir.Inbound) {
	if in.Public() {
		return
	}
	manager.Http2ProtocolOptions.ConnectionKeepalive = &corev3.KeepaliveSettings{
		Interval: lasting(probeAfter), Timeout: lasting(probes * probeInterval),
	}
}

// Socket options by their numbers on Linux.
const (
	solSocket      = 1
	soKeepalive    = 9
	ipprotoTCP     = 6
	tcpKeepidle    = 4
	tcpKeepintvl   = 5
	tcpKeepcnt     = 6
	tcpUserTimeout = 18
)

func probeOptions() []*corev3.SocketOption {
	return []*corev3.SocketOption{
		socketOption(solSocket, soKeepalive, 1),
		socketOption(ipprotoTCP, tcpKeepidle, int64(probeAfter/time.Second)),
		socketOption(ipprotoTCP, tcpKeepintvl, int64(probeInterval/time.Second)),
		socketOption(ipprotoTCP, tcpKeepcnt, probes),
	}
}

func socketOption(level, name, value int64) *corev3.SocketOption {
	return &corev3.SocketOption{Level: level, Name: name, Value: &corev3.SocketOption_IntValue{IntValue: value}}
}
