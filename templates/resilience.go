package templates

import (
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	// nameConnectTimeout is how long one address of a name may take to accept a connection. It is short, because there may
	// be others that live; with [ir.DefaultAttempts] a name with one address has five times as long. An upstream that is
	// one address has Envoy's default, 5 s, as many times, as has a server outside the mesh, which may be far away.
	nameConnectTimeout = time.Second
	// otherHostTries is how often a retry picks once more when it has picked an address that has failed it already.
	otherHostTries = 5
)

// withstand gives the cluster of an upstream what it says about peers that are slow, fail or are gone.
func withstand(cluster *clusterv3.Cluster, up ir.Upstream) {
	r := up.Resilience
	switch {
	case r.ConnectTimeout > 0:
		cluster.ConnectTimeout = lasting(r.ConnectTimeout)
	case !up.Address.IsIP() && !up.Server.External:
		cluster.ConnectTimeout = lasting(nameConnectTimeout)
	}
	limits := cluster.CircuitBreakers.Thresholds[0]
	if up.Protocol != ir.TCP {
		// Envoy's own limit of 3 at a time would let the fourth of the requests to a dead address fail.
		limits.MaxRetries = count(plenty)
	}
	if r.MaxConnections > 0 {
		limits.MaxConnections = count(r.MaxConnections)
	}
	if r.Outliers != (ir.OutlierDetection{}) {
		cluster.OutlierDetection = outlierDetection(r.Outliers)
	}
}

// ownRetries are those that an upstream has in its cluster and not in its route, whose change would end long requests.
func ownRetries(r ir.Retries) *routev3.RetryPolicy {
	if r.IsZero() || r.PerTryTimeout > 0 {
		return nil
	}
	return retryPolicy(r)
}

// retryPolicy is empty where nothing is tried again. What was never sent always is otherwise.
func retryPolicy(r ir.Retries) *routev3.RetryPolicy {
	if r.Off {
		return &routev3.RetryPolicy{}
	}
	on := ir.NeverSent()
	for _, condition := range r.On {
		if !slices.Contains(on, condition) {
			on = append(on, condition)
		}
	}
	policy := &routev3.RetryPolicy{
		RetryOn:    strings.Join(on, ","),
		NumRetries: count(r.Tries() - 1),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: pack(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: otherHostTries,
	}
	if len(r.On) == 0 {
		// There is no load to spare a peer that has seen nothing, and the rest of a long request, which Envoy keeps only so
		// much of, should not arrive before the next try has begun.
		policy.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: lasting(time.Millisecond)}
	}
	if r.PerTryTimeout > 0 {
		policy.PerTryTimeout = lasting(r.PerTryTimeout)
	}
	return policy
}

// outlierDetection counts failures in a row and nothing else.
func outlierDetection(o ir.OutlierDetection) *clusterv3.OutlierDetection {
	return &clusterv3.OutlierDetection{
		Consecutive_5Xx:      count(o.ConsecutiveErrors),
		Interval:             lasting(o.Interval),
		BaseEjectionTime:     lasting(o.EjectionTime),
		MaxEjectionPercent:   count(o.MaxEjectionPercent),
		EnforcingSuccessRate: count(0),
	}
}

// withstandRequests gives the routes to upstreams what they say about requests: of the one cluster that a route names, or,
// where it names none, of the upstream on each port.
func (p envoy) withstandRequests(routes *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	for _, host := range routes.VirtualHosts {
		host.RetryPolicy = retryPolicy(ir.Retries{})
		var bounded []*routev3.Route
		for _, up := range p.Upstreams {
			r := up.Resilience
			if r.Timeout == 0 && r.IdleTimeout == 0 && r.Retries.PerTryTimeout == 0 || up.Protocol == ir.TCP {
				continue
			}
			for _, route := range host.Routes {
				switch cluster := upstreamCluster(up); {
				case route.GetRoute().GetCluster() == cluster:
					boundRoute(route, r)
				case route.GetRoute().GetClusterHeader() != "":
					route = proto.CloneOf(route)
					route.Match.Headers = append(route.Match.Headers, headerIs(clusterHeader, cluster))
					boundRoute(route, r)
					bounded = append(bounded, route)
				}
			}
		}
		host.Routes = append(bounded, host.Routes...)
	}
	return routes
}

func boundRoute(route *routev3.Route, r ir.Resilience) {
	route.GetRoute().Timeout = lasting(r.Timeout)
	if r.IdleTimeout > 0 {
		route.GetRoute().IdleTimeout = lasting(r.IdleTimeout)
	}
	if r.Retries.PerTryTimeout > 0 {
		// Envoy looks for it here alone, also where the cluster has a retry policy.
		route.GetRoute().RetryPolicy = retryPolicy(r.Retries)
	}
}

// withstandConnections is the same of a TCP upstream's connections. Nothing is sent before there is one, so that each
// failure to connect may be tried again; the load balancer goes on to the next address by itself.
func withstandConnections(tcp *tcpproxyv3.TcpProxy, r ir.Resilience) {
	tcp.MaxConnectAttempts = count(r.Retries.Tries())
	if r.IdleTimeout > 0 {
		tcp.IdleTimeout = lasting(r.IdleTimeout)
	}
}
