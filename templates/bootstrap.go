package templates

import (
	"slices"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const agentCluster = "spire_agent"

// readOnlyAdmin is the whole path, with its query, of what the admin interface answers. Everything that
// reads for diagnosis and nothing that changes Envoy: the list is by path, not by method.
const readOnlyAdmin = `/(certs|clusters|config_dump|listeners|ready|server_info|stats|stats/prometheus)(\?.*)?`

func (p envoy) bootstrap() *bootstrapv3.Bootstrap {
	return p.allowTCPDeadlines(p.shedding(&bootstrapv3.Bootstrap{
		// The configuration is made before the pod has a name.
		Node: &corev3.Node{Id: p.ID.String(), Cluster: p.ID.String(), Metadata: p.nodeMetadata()},
		Admin: &bootstrapv3.Admin{
			Address:    socketAddress("127.0.0.1", ir.AdminPort),
			AllowPaths: []*matcherv3.StringMatcher{patternMatcher(readOnlyAdmin)},
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: boundListeners(p.onPodAddresses(slices.Concat(
				[]*listenerv3.Listener{p.readinessListener()}, p.probeListeners(), p.metricsListeners(),
			))),
			Clusters: slices.Concat([]*clusterv3.Cluster{p.agent()}, p.readinessClusters(), boundClusters(slices.Concat(
				p.probeClusters(), p.metricsClusters(), []*clusterv3.Cluster{localCluster(updatesName, ir.AdminPort)},
			))),
		},
		ClusterManager: askUpstreams(),
		StatsConfig:    p.statsConfig(),
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			LdsConfig: p.watchedFile(ListenersFile),
			CdsConfig: p.watchedFile(ClustersFile),
		},
	}))
}

// fixedPorts are those of the listeners that upstreams share, and what names lead to them. Envoy reads them nowhere. When the addresses of a listener
// change it takes new sockets, and connections that are just being opened are lost with the old ones; so they belong to
// the file that never changes in a running pod.
func (p envoy) fixedPorts() *structpb.Struct {
	fields := map[string]*structpb.Value{}
	add := func(listener string, port *structpb.Value) {
		if fields[listener] == nil {
			fields[listener] = structpb.NewListValue(&structpb.ListValue{})
		}
		list := fields[listener].GetListValue()
		list.Values = append(list.Values, port)
	}
	for _, up := range p.Upstreams {
		switch {
		case !up.Match.IsZero():
		case !up.Name.IsZero(): // whose addresses in the pod are also those of its aliases
			for _, port := range slices.Concat([]uint16{up.Listen}, up.Passthrough) {
				add(namesListener, structpb.NewStringValue(up.Name.At(port)))
			}
		case up.Protocol != ir.TCP:
			add(upstreamsListener, structpb.NewNumberValue(float64(up.Listen)))
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &structpb.Struct{Fields: fields}
}

// agent is the SPIRE agent's Workload API socket, which also serves SDS.
func (p envoy) agent() *clusterv3.Cluster {
	return askNobody(&clusterv3.Cluster{
		Name:                          agentCluster,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:                lasting(time.Second),
		TypedExtensionProtocolOptions: extension(httpOptions(ir.HTTP2, nil)),
		LoadAssignment: endpoints(agentCluster, &corev3.Address{
			Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: p.AgentSocket}},
		}),
	})
}
