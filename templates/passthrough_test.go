package templates

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Ports that nobody lists have no other limits and deadlines than those that are listed.
func TestRestOfNamesIsLikeWhatIsListed(t *testing.T) {
	up := ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api"), Passthrough: []uint16{22}}
	listed := envoy{named(t, ir.Proxy{}, up, "api:8080")}
	all := listed
	all.Captured = true
	all.LeadRestOfNames()
	if got := passedThrough(all.Upstreams[0]); len(got) > 0 || len(all.restListener()) != 1 || len(all.restCluster()) != 1 {
		t.Fatalf("expected one listener for all ports, got %d for those that are listed", len(got))
	}
	listener := all.restListener()[0]
	was, is := tcpOf(t, passedThrough(listed.Upstreams[0])[0]), tcpOf(t, listener)
	for _, tcp := range []*tcpproxyv3.TcpProxy{was, is} {
		tcp.StatPrefix, tcp.ClusterSpecifier, tcp.AccessLog = "", nil, nil
	}
	if !proto.Equal(was, is) {
		t.Errorf("listed: %v, not listed: %v", was, is)
	}
	of := func(c *clusterv3.Cluster) *clusterv3.Cluster {
		return &clusterv3.Cluster{ConnectTimeout: c.ConnectTimeout, CircuitBreakers: c.CircuitBreakers, OutlierDetection: c.OutlierDetection}
	}
	if was, is := of(listed.passthroughClusters(listed.Upstreams[0])[0]), of(all.restCluster()[0]); !proto.Equal(was, is) {
		t.Errorf("listed: %v, not listed: %v", was, is)
	}
}

// tcpOf is what serves the last filter chain of a listener.
func tcpOf(t *testing.T, l *listenerv3.Listener) *tcpproxyv3.TcpProxy {
	t.Helper()
	chain := l.FilterChains[len(l.FilterChains)-1]
	tcp := &tcpproxyv3.TcpProxy{}
	if err := chain.Filters[len(chain.Filters)-1].GetTypedConfig().UnmarshalTo(tcp); err != nil {
		t.Fatal(err)
	}
	return tcp
}
