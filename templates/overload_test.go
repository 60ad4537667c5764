package templates

import (
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestBuffersAreBounded: those of every listener and of every cluster that carries requests, and the windows of HTTP/2
// wherever Envoy speaks it. A connection has room for all of the streams that Envoy itself opens on it.
func TestBuffersAreBounded(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			if got := listener.GetPerConnectionBufferLimitBytes().GetValue(); got != connectionBuffer {
				t.Errorf("listener %s: %d", listener.GetName(), got)
			}
		}
		for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
			quiet := cluster.GetName() == agentCluster || cluster.GetName() == ownPorts || cluster.GetName() == appPorts
			if got := cluster.GetPerConnectionBufferLimitBytes().GetValue(); got != connectionBuffer && !quiet {
				t.Errorf("cluster %s: %d", cluster.GetName(), got)
			}
		}
		for _, options := range all[*corev3.Http2ProtocolOptions](t, name, proxy) {
			stream := options.GetInitialStreamWindowSize().GetValue()
			connection := options.GetInitialConnectionWindowSize().GetValue()
			if stream != streamWindow || connection < peerStreams*stream {
				t.Errorf("windows of %d and %d bytes", stream, connection)
			}
		}
	})
}

// TestProbesPassWhileLoadIsShed: the listeners of the bootstrap, which are those of the kubelet and of whoever reads
// statistics, are exempt, and no other one is.
func TestProbesPassWhileLoadIsShed(t *testing.T) {
	p := cases(t)["observed"]
	for _, limit := range []int64{0, 256 << 20} {
		p.MemoryLimit = limit
		bootstrap := all[*bootstrapv3.Bootstrap](t, "observed", p)[0]
		if sheds := bootstrap.GetOverloadManager() != nil; sheds != (limit > 0) {
			t.Errorf("with a limit of %d: sheds load: %t", limit, sheds)
		}
		static := map[string]bool{}
		for _, listener := range bootstrap.GetStaticResources().GetListeners() {
			static[listener.GetName()] = true
		}
		for _, listener := range all[*listenerv3.Listener](t, "observed", p) {
			if got, want := listener.GetBypassOverloadManager(), static[listener.GetName()] && limit > 0; got != want {
				t.Errorf("with a limit of %d, listener %s is exempt: %t, want %t", limit, listener.GetName(), got, want)
			}
		}
	}
}
