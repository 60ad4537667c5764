package templates

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// What Envoy holds of a request or an answer while the side that is to read it does not. Without bounds it is 1 MiB of
// each connection and 16 MiB of each HTTP/2 stream, so that a few hundred slow readers fill the memory of a container.
const (
	// connectionBuffer bounds, softly, each of the two buffers of a connection. It is two TLS records.
	connectionBuffer = 32 << 10
	// streamWindow bounds the same of one HTTP/2 stream, and with it what a stream carries in a round trip: 130 MB/s at
	// 2 ms, 2.6 MB/s at 100 ms. Envoy has one number for what it takes in and what it holds to be sent, so that a larger
	// window would also make slow readers dearer.
	streamWindow = 256 << 10
	// peerStreams is how many streams Envoy opens on one connection to another Envoy before it opens a second one.
	peerStreams = 100
	// connectionWindow has room for every stream of a connection whose reader has stopped: with less, a few slow readers
	// would stop everybody else's requests that share the connection.
	connectionWindow = peerStreams * streamWindow
)

// boundListeners bounds the buffers of callers' connections.
func boundListeners(listeners []*listenerv3.Listener) []*listenerv3.Listener {
	for _, listener := range listeners {
		listener.PerConnectionBufferLimitBytes = count(connectionBuffer)
	}
	return listeners
}

// boundClusters bounds the buffers of connections to the app and to upstreams.
func boundClusters(clusters []*clusterv3.Cluster) []*clusterv3.Cluster {
	for _, cluster := range clusters {
		cluster.PerConnectionBufferLimitBytes = count(connectionBuffer)
	}
	return clusters
}

// http2Server bounds what HTTP/2 callers make Envoy hold.
func http2Server() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		InitialStreamWindowSize:     count(streamWindow),
		InitialConnectionWindowSize: count(connectionWindow),
	}
}

// bound bounds the same where Envoy is the caller, and keeps the streams of a connection so few that the slow ones
// among them cannot stop the others.
func bound(client *corev3.Http2ProtocolOptions) *corev3.Http2ProtocolOptions {
	client.MaxConcurrentStreams = count(peerStreams)
	client.InitialStreamWindowSize = count(streamWindow)
	client.InitialConnectionWindowSize = count(connectionWindow)
	return client
}
