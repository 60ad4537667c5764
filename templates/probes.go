package templates

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	probePrefix = "probe_"
	// grpcCheck is the only method that a gRPC probe calls.
	grpcCheck = "/grpc.health.v1.Health/Check"
)

var probeClusterPrefixes = [...]string{
	ir.ProbeHTTP:  "http_",
	ir.ProbeHTTPS: "https_",
	ir.ProbeTCP:   "tcp_",
	ir.ProbeGRPC:  "grpc_",
}

func probeListener(port uint16) string { return fmt.Sprintf("%s%d", probePrefix, port) }

// cluster is shared by all probes of a kind that ask one port.
func probeCluster(pr ir.Probe) string {
	return fmt.Sprintf("%s%s%d", probePrefix, probeClusterPrefixes[pr.Kind], pr.App)
}

// probeListeners has one listener for each port that the kubelet asks, in the order of the probes.
func (p envoy) probeListeners() []*listenerv3.Listener {
	var ports []uint16
	routes := map[uint16][]*routev3.Route{}
	answers := map[uint16][]*hcmv3.HttpFilter{}
	onPodIP := map[uint16]bool{}
	for _, probe := range p.Probes {
		port := probe.Listen
		onPodIP[port] = onPodIP[port] || probe.AppHost == ir.PodIP
		if len(routes[port])+len(answers[port]) == 0 {
			ports = append(ports, port)
		}
		if probe.Kind == ir.ProbeTCP {
			answers[port] = append(answers[port], healthAnswer(probe.Path, probeCluster(probe)))
		} else {
			routes[port] = append(routes[port], probeRoute(probe))
		}
	}
	var out []*listenerv3.Listener
	for _, port := range ports {
		listener := forKubelet(answering(probeListener(port), port, nil, routes[port], answers[port]...), port)
		if onPodIP[port] {
			rememberCalled(listener, filterstatev3.FilterStateValue_NONE)
		}
		out = append(out, listener)
	}
	return out
}

func probeRoute(pr ir.Probe) *routev3.Route {
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: probeCluster(pr)},
		Timeout:          lasting(0),
	}
	hostOfApp(pr, action)
	method, path := "POST", grpcCheck
	if pr.Kind.HasTarget() {
		method, path = "GET", pr.Path
		action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
			Pattern:      &matcherv3.RegexMatcher{Regex: ".+"},
			Substitution: strings.ReplaceAll(pr.Target, `\`, `\\`),
		}
	}
	return &routev3.Route{
		Match:  anyPath(asks(method, path)...),
		Action: &routev3.Route_Route{Route: action},
		// The kubelet would follow it to a port of ours, which does not know it.
		ResponseHeadersToRemove: []string{"location"},
	}
}

func (p envoy) probeClusters() []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	seen := map[string]bool{}
	for _, probe := range p.Probes {
		name := probeCluster(probe)
		if seen[name] {
			continue
		}
		seen[name] = true
		if probe.Kind == ir.ProbeTCP {
			out = append(out, tcpChecked(name, socketAddress(probe.AppHost.IP(), probe.App)))
			continue
		}
		cluster := toApp(localCluster(name, probe.App), probe.AppHost, probe.App)
		protocol := ir.HTTP
		if probe.Kind == ir.ProbeHTTPS {
			cluster.TransportSocket = unverifiedTLS()
		}
		if probe.Kind == ir.ProbeGRPC {
			protocol = ir.GRPC
		}
		// A connection for each probe, as the kubelet does it: one that is kept may be closed by the app just when the
		// next probe is sent.
		cluster.TypedExtensionProtocolOptions = extension(httpOptions(
			protocol,
			&corev3.HttpProtocolOptions{MaxRequestsPerConnection: count(1)},
		))
		out = append(out, cluster)
	}
	return out
}

// unverifiedTLS asks the app for no name and no trusted certificate: the probe is about its answer, and stays in the
// pod.
func unverifiedTLS() *corev3.TransportSocket {
	return tlsTransport(&tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
	}})
}
