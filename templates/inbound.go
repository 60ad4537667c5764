package templates

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// serverFirstWait is how long a TCP port that also takes plain text waits for the caller's first byte, which tells TLS
// from plain text. A caller that says nothing waits for the server to speak first, which TLS never does. It is long
// enough for a lost packet to be sent again.
const serverFirstWait = 500 * time.Millisecond

func (p envoy) inbound(in ir.Inbound) *listenerv3.Listener {
	name := inboundListener(in)
	listener := &listenerv3.Listener{
		Name:             name,
		Address:          socketAddress("0.0.0.0", in.Listen),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
	}
	if in.Protocol == ir.TCP && in.TLS != ir.Permissive {
		// Readiness would open a connection to the app. On a permissive port it ends before it has been told apart.
		listener.FilterChains = append(listener.FilterChains, readinessProbeChain())
	}
	if in.TLS != ir.None {
		listener.AccessLog = []*accesslogv3.AccessLog{refusedLog(in)}
		listener.FilterChains = append(listener.FilterChains, p.tlsChain(in))
	}
	switch in.TLS {
	case ir.Mutual:
	case ir.None:
		listener.FilterChains = append(listener.FilterChains, p.plainChain(in))
	case ir.Permissive:
		listener.ListenerFilters = []*listenerv3.ListenerFilter{{
			Name:       "tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(&tlsinspectorv3.TlsInspector{})},
		}}
		listener.ContinueOnListenerFiltersTimeout = true
		if in.Protocol == ir.TCP {
			listener.ListenerFiltersTimeout = lasting(serverFirstWait)
		}
		tls := listener.FilterChains[len(listener.FilterChains)-1]
		tls.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
		plain := p.plainChain(in)
		plain.Name = plainChainName
		plain.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}
		listener.FilterChains = append(listener.FilterChains, plain)
	}
	markCallers(listener, in)
	p.markRefused(listener, in)
	askCallers(listener, in)
	return listener
}

// tlsChain serves callers that speak TLS.
func (p envoy) tlsChain(in ir.Inbound) *listenerv3.FilterChain {
	chain := p.mutualChain(in)
	if in.Clients == ir.NoRequest {
		chain = p.plainChain(in)
	}
	chain.TransportSocket = p.downstreamTLS(in)
	chain.TransportSocketConnectTimeout = lasting(handshakeTimeout)
	return chain
}

// mutualChain serves callers that show who they are.
func (p envoy) mutualChain(in ir.Inbound) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Filters: connectionLimit(in)}
	if isForeign(p.ID, in.Verified()) {
		chain.Filters = append(chain.Filters, networkFilter("one_id", oneID(in)))
	}
	if in.Protocol != ir.TCP {
		if !p.UnboundedStreams {
			chain.Filters = append(chain.Filters, p.deadline())
		}
		chain.Filters = append(chain.Filters, networkFilter(hcmFilter, p.mutualHTTP(in)))
		return chain
	}
	if in.Audit {
		chain.Filters = append(chain.Filters, networkFilter("audit", tcpAudit(in)))
	}
	if p.endsEarly(in) {
		chain.Filters = append(chain.Filters, p.chooseLife(in))
	}
	chain.Filters = append(chain.Filters, networkFilter(tcpFilter, p.mutualTCP(in)))
	return chain
}

// plainChain serves callers as nobody.
func (p envoy) plainChain(in ir.Inbound) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Filters: connectionLimit(in)}
	if in.Protocol == ir.TCP {
		chain.Filters = append(chain.Filters, networkFilter(tcpFilter, plainTCP(in)))
		return chain
	}
	chain.Filters = append(chain.Filters, networkFilter(hcmFilter, p.plainHTTP(in)))
	return chain
}

// plainEvent names the log line and the statistics of a caller in plain text. On a port where nobody is known all are
// alike.
func plainEvent(in ir.Inbound, kind string) (event, stats string) {
	if in.TLS != ir.Permissive {
		return kind, inboundListener(in)
	}
	return "plain_" + kind, plainStats(in)
}
