package templates

import (
	"fmt"
	"slices"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// A proxy is configured before its pod has an address. An app that listens on that one is called at the address which
// the caller has called, with its own port. Readiness has no caller: there the kubelet puts the address into Envoy's
// command line.

// PodIPVariable is the environment variable of Envoy's container that holds the address of its pod, if there are
// [PodIPArgs].
const PodIPVariable = "POD_IP"

// podApps is the cluster of [PodIPArgs].
const podApps = "pod_apps"

// PodIPArgs belong to [Args] for a proxy with apps on the address of the pod, and are none for others. The kubelet
// replaces the variable in them; Envoy adds what they say to its bootstrap.
func PodIPArgs(p ir.Proxy) []string {
	var apps []*corev3.Address
	for _, port := range portsOnPodIP(p) {
		apps = append(apps, socketAddress("$("+PodIPVariable+")", port))
	}
	if len(apps) == 0 {
		return nil
	}
	bootstrap, err := encode(&bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Clusters: []*clusterv3.Cluster{tcpChecked(podApps, apps...)},
	}})
	if err != nil {
		panic(fmt.Sprintf("encode the cluster of readiness: %v", err)) // cannot fail: only ports differ
	}
	return []string{"--config-yaml", bootstrap}
}

// portsOnPodIP are those of apps on the address of the pod, each once.
func portsOnPodIP(p ir.Proxy) []uint16 {
	var ports []uint16
	for _, in := range p.Inbound {
		if in.App != 0 && in.AppHost == ir.PodIP && !slices.Contains(ports, in.App) {
			ports = append(ports, in.App)
		}
	}
	return ports
}

// calledAddress is where Envoy keeps which address a cluster of [toApp] is called at.
const calledAddress = "envoy.network.transport_socket.original_dst_address"

// toApp makes a cluster of loopback one for the address of an app.
func toApp(cluster *clusterv3.Cluster, host ir.AppHost, port uint16) *clusterv3.Cluster {
	if host != ir.PodIP {
		cluster.LoadAssignment = endpoints(cluster.Name, socketAddress(host.IP(), port))
		return cluster
	}
	cluster.LoadAssignment = nil
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	cluster.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	cluster.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &clusterv3.Cluster_OriginalDstLbConfig{
		UpstreamPortOverride: count(uint32(port)),
	}}
	return cluster
}

// fromCalledAddress has a listener remember which address its callers call, for an app on the pod's.
func (p envoy) fromCalledAddress(l *listenerv3.Listener, in ir.Inbound) *listenerv3.Listener {
	if in.AppHost != ir.PodIP {
		return l
	}
	shared := filterstatev3.FilterStateValue_NONE
	if p.endsEarly(in) {
		shared = filterstatev3.FilterStateValue_ONCE // with the listener of [envoy.earlyListener]
	}
	rememberCalled(l, shared)
	return l
}

// rememberCalled has each connection to a listener remember which address its caller called.
func rememberCalled(l *listenerv3.Listener, shared filterstatev3.FilterStateValue_SharedWithUpstream) {
	for _, chain := range l.FilterChains {
		if chain.Name == readinessName {
			continue
		}
		chain.Filters = append([]*listenerv3.Filter{networkFilter("called_address", &setfilterstatev3.Config{
			OnNewConnection: []*filterstatev3.FilterStateValue{{
				Key:                &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: calledAddress},
				SharedWithUpstream: shared,
				Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
					Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
						Specifier: &corev3.DataSource_InlineString{InlineString: "%DOWNSTREAM_LOCAL_ADDRESS%"},
					}},
				}},
			}},
		})}, chain.Filters...)
	}
}
