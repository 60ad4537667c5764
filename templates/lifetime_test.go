package templates

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// eachLife runs a check of all cases with short and long certificates, and with streams without bound.
func eachLife(t *testing.T, check func(t *testing.T, name string, proxy ir.Proxy)) {
	t.Helper()
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, ttl := range []time.Duration{2 * time.Second, time.Minute, time.Hour, 720 * time.Hour} {
			for _, unbounded := range []bool{false, true} {
				proxy.SVIDTTL, proxy.UnboundedStreams = ttl, unbounded
				t.Run(ttl.String(), func(t *testing.T) { check(t, name, proxy) })
			}
		}
	})
}

// TestNothingOutlivesItsCertificate adds up the longest way of a connection on both sides and for both kinds of
// traffic, and wants it to use nearly all of the time that there is.
func TestNothingOutlivesItsCertificate(t *testing.T) {
	eachLife(t, func(t *testing.T, name string, proxy ir.Proxy) {
		life, managers := proxy.SVIDTTL/2, all[*hcmv3.HttpConnectionManager](t, name, proxy)
		within := func(what string, got time.Duration) {
			t.Helper()
			if !proxy.UnboundedStreams && (got > life || got < life*9/10) {
				t.Errorf("%s may live for %s of %s", what, got, life)
			}
		}
		for _, manager := range managers {
			options := manager.GetCommonHttpProtocolOptions()
			if mutual := manager.GetForwardClientCertDetails() != hcmv3.HttpConnectionManager_SANITIZE; !mutual {
				continue
			}
			grace := maxGrace
			if timeout := manager.GetDrainTimeout(); timeout != nil {
				grace = timeout.AsDuration()
			}
			closing := maxClosing
			if timeout := manager.GetDelayedCloseTimeout(); timeout != nil {
				closing = timeout.AsDuration()
			}
			fresh := options.GetMaxConnectionDuration().AsDuration()
			if fresh <= 0 || !manager.GetHttp1SafeMaxConnectionDuration() {
				t.Errorf("%s: takes requests for %s, and may lose them: %t", manager.GetStatPrefix(), fresh, !manager.GetHttp1SafeMaxConnectionDuration())
			}
			idle := options.GetIdleTimeout().AsDuration()
			if idle <= 0 || idle > defaultIdle {
				t.Errorf("%s: a connection may rest for %s", manager.GetStatPrefix(), idle)
			}
			within(manager.GetStatPrefix(), fresh+grace+idle+closing+options.GetMaxStreamDuration().AsDuration())
			if !proxy.UnboundedStreams {
				longest := options.GetMaxStreamDuration().AsDuration() + closing
				within(manager.GetStatPrefix()+", of whose last request nobody looks at the deadline,", notLookedAt(t, manager)+longest)
			}
			if got := options.GetMaxStreamDuration() == nil; got != proxy.UnboundedStreams {
				t.Errorf("%s: streams without bound: %t", manager.GetStatPrefix(), got)
			}
		}
		fresh := freshnessToPeers(t, name, proxy)
		for _, manager := range managers {
			routes := manager.GetStatPrefix() == upstreamsListener || manager.GetStatPrefix() == namesListener || proxy.Gateway && strings.HasPrefix(manager.GetStatPrefix(), "inbound_")
			longest := manager.GetCommonHttpProtocolOptions().GetMaxStreamDuration().AsDuration()
			if routes && (longest > 0) == proxy.UnboundedStreams || routes && fresh+longest > life {
				t.Errorf("%s: to peers %s and %s of %s", manager.GetStatPrefix(), fresh, longest, life)
			}
		}
		for _, tcp := range all[*tcpproxyv3.TcpProxy](t, name, proxy) {
			if strings.HasPrefix(tcp.GetStatPrefix(), "early_") {
				continue // in TestEarlyLives
			}
			if !carriesNobody(proxy, tcp.GetStatPrefix()) && !withoutSVID(proxy, tcp.GetStatPrefix()) {
				within(tcp.GetStatPrefix(), tcp.GetMaxDownstreamConnectionDuration().AsDuration())
			}
			if tcp.GetMaxDownstreamConnectionDuration() != nil && proxy.UnboundedStreams {
				t.Errorf("%s is ended", tcp.GetStatPrefix())
			}
		}
	})
}

// notLookedAt is how old the connection may be when a request begins of which nobody looks at the deadline. Its route
// comes before all others of a host.
func notLookedAt(t *testing.T, manager *hcmv3.HttpConnectionManager) time.Duration {
	t.Helper()
	var age int64
	for _, host := range manager.GetRouteConfig().GetVirtualHosts() {
		look := host.GetRoutes()[0]
		match := look.GetMatch().GetHeaders()[0]
		if match.GetName() != ageHeader || !match.GetInvertMatch() || !match.GetTreatMissingHeaderAsEmpty() || match.GetRangeMatch().GetStart() != 0 {
			t.Fatalf("%s: expected a route for requests whose deadline is looked at, got %v", host.GetName(), look)
		}
		if age = match.GetRangeMatch().GetEnd(); look.GetDirectResponse().GetStatus() != 403 || look.GetTypedPerFilterConfig()[leftFilter] == nil || look.GetTypedPerFilterConfig()[againFilter] == nil {
			t.Errorf("%s: expected the two filters, and a refusal without them, got %v", host.GetName(), look)
		}
	}
	return time.Duration(age) * time.Millisecond
}

// TestOnlyCertificatesThatLastAreNotLookedAt: what was left of them in the handshake has to be more than any connection
// lives, in whole seconds, of which the current one may be over.
func TestOnlyCertificatesThatLastAreNotLookedAt(t *testing.T) {
	lasts := regexp.MustCompile(`int\(request\.time\)>(\d+)\?"0":"x"`)
	eachLife(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, config := range all[*setfilterstatev3.Config](t, name, proxy) {
			for _, value := range config.GetOnDownstreamTlsHandshake() {
				if value.GetObjectKey() != lastsKey {
					continue
				}
				text := value.GetFormatString().GetTextFormatSource().GetInlineString()
				match := lasts.FindStringSubmatch(text)
				if match == nil {
					t.Fatalf("expected a number of seconds, got %s", text)
				}
				seconds, err := strconv.Atoi(match[1])
				if life := proxy.SVIDTTL / 2; err != nil || time.Duration(seconds)*time.Second < life || time.Duration(seconds)*time.Second >= life+time.Second {
					t.Errorf("TTL %s: %s", proxy.SVIDTTL, text)
				}
			}
		}
	})
}

// carriesNobody says whether the statistics are those of callers without certificates.
func carriesNobody(proxy ir.Proxy, stats string) bool {
	return slices.ContainsFunc(proxy.Inbound, func(in ir.Inbound) bool {
		return stats == plainStats(in) || stats == inboundListener(in) && !in.Identifies()
	})
}

// TestCallersEndTheirConnectionsFirst: each server takes requests for at least twice as long as a caller's Envoy has a
// connection to it, if that has the same TTL. A longer TTL of the caller makes no difference where there is a drain time.
func TestCallersEndTheirConnectionsFirst(t *testing.T) {
	const drain = 10 * time.Second
	for _, ttl := range []time.Duration{
		10 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, time.Hour, 720 * time.Hour,
	} {
		for _, drain := range []time.Duration{0, time.Second, drain, 5 * time.Minute} {
			server := envoy{Proxy: ir.Proxy{SVIDTTL: ttl, Drain: drain}}
			if fresh, ends := server.freshness(), server.peerConnectionLife(); ends <= 0 || fresh < 2*ends {
				t.Errorf("TTL %s, drain %s: servers take requests for %s, callers make them for %s", ttl, drain, fresh, ends)
			}
			if streams := server.connectionLife() - server.takesRequests() - server.closing(); streams < server.connectionLife()*38/100 {
				t.Errorf("TTL %s, drain %s: %s for streams", ttl, drain, streams)
			}
		}
		server, caller := envoy{Proxy: ir.Proxy{SVIDTTL: ttl, Drain: drain}}, envoy{Proxy: ir.Proxy{SVIDTTL: 720 * time.Hour, Drain: drain}}
		if fresh, ends := server.freshness(), caller.peerConnectionLife(); ttl >= 30*time.Second && fresh < ends*11/10 {
			t.Errorf("TTL %s: servers take requests for %s, callers of a longer TTL make them for %s", ttl, fresh, ends)
		}
	}
}

// freshnessToPeers is for how long connections to peers take requests, the same for all.
func freshnessToPeers(t *testing.T, name string, proxy ir.Proxy) time.Duration {
	t.Helper()
	want := envoy{Proxy: proxy}.peerConnectionLife()
	for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
		if withoutSVID(proxy, cluster.GetName()) || !strings.HasPrefix(cluster.GetName(), upstreamPrefix) || cluster.GetTypedExtensionProtocolOptions() == nil {
			continue
		}
		var found []*corev3.HttpProtocolOptions
		visit(t, cluster, func(m proto.Message) {
			if options, ok := m.(*corev3.HttpProtocolOptions); ok {
				found = append(found, options)
			}
		})
		if len(found) != 1 || found[0].GetMaxConnectionDuration().AsDuration() != want || found[0].GetIdleTimeout().AsDuration() != idleTimeout {
			t.Errorf("%s: %v, want requests for %s", cluster.GetName(), found, want)
		}
	}
	return want
}
