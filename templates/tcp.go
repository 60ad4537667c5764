package templates

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const tcpFilter = "tcp_proxy"

// mutualTCP carries the bytes of callers that TLS has let in. A stream that is open when the peers change ends with the
// filter chain, which holds them, and at the latest with the caller's certificate.
func (p envoy) mutualTCP(in ir.Inbound) *tcpproxyv3.TcpProxy {
	cluster := appCluster(in)
	if p.endsEarly(in) {
		cluster = earlyName(in)
	}
	tcp := transparentTCP(inboundListener(in), cluster)
	p.tcpForLife(tcp)
	// Not before TLS has let the caller in: the app would see connections of anyone.
	tcp.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE
	tcp.MaxEarlyDataBytes = count(0)
	tcp.IdleTimeout = lasting(in.Limits.IdleTimeout)
	tcp.AccessLog = []*accesslogv3.AccessLog{connectionLog(in, "connection")}
	if p.endsEarly(in) {
		tcp.AccessLog = []*accesslogv3.AccessLog{earlyLog(in)}
	}
	return tcp
}

// plainTCP carries the bytes of callers of whom nothing is known.
func plainTCP(in ir.Inbound) *tcpproxyv3.TcpProxy {
	event, stats := plainEvent(in, "connection")
	tcp := transparentTCP(stats, appCluster(in))
	tcp.IdleTimeout = lasting(in.Limits.IdleTimeout)
	if in.TLS == ir.Mutual {
		tcp.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE
		tcp.MaxEarlyDataBytes = count(0)
	}
	tcp.AccessLog = []*accesslogv3.AccessLog{connectionLog(in, event)}
	return tcp
}

func transparentTCP(stats, cluster string) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{
		StatPrefix:       stats,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout:      lasting(0), // when a stream may rest is the app's business
	}
}

func peersMetadata(peers []ir.Peer) *corev3.Metadata {
	list := &structpb.ListValue{}
	for _, peer := range peers {
		list.Values = append(list.Values, structpb.NewStringValue(peer.String()))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"spire-injector": {Fields: map[string]*structpb.Value{"peers": structpb.NewListValue(list)}},
	}}
}
