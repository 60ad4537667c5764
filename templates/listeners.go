package templates

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func inboundListener(in Inbound) string   { return fmt.Sprintf("inbound_%d", in.Listen) }
func upstreamListener(up Upstream) string { return fmt.Sprintf("upstream_%d", up.Listen) }

// listeners is the content of ListenersFile.
func (p Proxy) listeners() []*listenerv3.Listener {
	var out []*listenerv3.Listener
	for _, in := range p.Inbound {
		out = append(out, p.inbound(in))
	}
	for _, up := range p.Upstreams {
		if up.Protocol == TCP {
			out = append(out, p.tcpUpstream(up))
		} else {
			out = append(out, httpUpstream(up))
		}
	}
	return out
}

func (p Proxy) inbound(in Inbound) *listenerv3.Listener {
	name := inboundListener(in)
	return &listenerv3.Listener{
		Name:             name,
		Address:          socketAddress("0.0.0.0", in.Listen),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
		AccessLog:        []*accesslogv3.AccessLog{refusedLog(name)},
		FilterChains: []*listenerv3.FilterChain{{
			TransportSocket: downstreamTLS(p.ID, in.Peers),
			Filters:         []*listenerv3.Filter{networkFilter(hcmFilter, p.inboundHTTP(name, in))},
		}},
	}
}

func httpUpstream(up Upstream) *listenerv3.Listener {
	name := upstreamListener(up)
	return &listenerv3.Listener{
		Name:             name,
		Address:          socketAddress("127.0.0.1", up.Listen),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{networkFilter(hcmFilter, upstreamHTTP(name, up))},
		}},
	}
}

func (p Proxy) tcpUpstream(up Upstream) *listenerv3.Listener {
	name := upstreamListener(up)
	return &listenerv3.Listener{
		Name:             name,
		Address:          socketAddress("127.0.0.1", up.Listen),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{
			readinessProbeChain(),
			{
				Name: name,
				Filters: []*listenerv3.Filter{networkFilter("envoy.filters.network.tcp_proxy", &tcpproxyv3.TcpProxy{
					StatPrefix:                      name,
					ClusterSpecifier:                &tcpproxyv3.TcpProxy_Cluster{Cluster: upstreamCluster(up)},
					IdleTimeout:                     lasting(0), // when a stream may rest is the app's business
					MaxDownstreamConnectionDuration: lasting(p.connectionLife()),
					AccessLog:                       []*accesslogv3.AccessLog{upstreamConnectionLog(name)},
				})},
				// Not read by any filter. It makes a changed peer list change the listener too, which
				// drains the open streams; replacing the cluster alone would let them live on.
				Metadata: peersMetadata(up.Peers),
			},
		},
	}
}

func peersMetadata(peers []Peer) *corev3.Metadata {
	list := &structpb.ListValue{}
	for _, peer := range peers {
		list.Values = append(list.Values, structpb.NewStringValue(peer.String()))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"spire-injector": {Fields: map[string]*structpb.Value{"peers": structpb.NewListValue(list)}},
	}}
}

func networkFilter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(config)}}
}
