package templates

import (
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	samplersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/samplers/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const tracesCluster = "traces"

// Attributes of a span, beside those that Envoy sets.
const (
	selfAttribute         = "spiffe.self"
	peerAttribute         = "spiffe.peer"          // the other side of the connection
	upstreamPeerAttribute = "spiffe.upstream_peer" // at a gateway, which has two
	pathAttribute         = "url.path"
)

// traceInbound sends a span for each request of a caller.
func (p envoy) traceInbound(manager *hcmv3.HttpConnectionManager, in ir.Inbound, mutual bool) {
	if p.Tracing.IsZero() {
		return
	}
	attributes := map[string]string{}
	if mutual {
		attributes[peerAttribute] = "%DOWNSTREAM_PEER_URI_SAN%"
	}
	if in.App == 0 {
		attributes[upstreamPeerAttribute] = "%UPSTREAM_PEER_URI_SAN%"
	}
	p.trace(manager, attributes)
	if in.Public() {
		// Whether a request is sampled is not up to just anybody.
		manager.EarlyHeaderMutationExtensions = append(manager.EarlyHeaderMutationExtensions, withoutTrace())
	}
}

// traceOutbound sends a span for each request of the app.
func (p envoy) traceOutbound(manager *hcmv3.HttpConnectionManager) {
	if !p.Tracing.IsZero() {
		p.trace(manager, map[string]string{peerAttribute: "%UPSTREAM_PEER_URI_SAN%"})
	}
}

func (p envoy) trace(manager *hcmv3.HttpConnectionManager, attributes map[string]string) {
	tags := []*tracingv3.CustomTag{{
		Tag:  selfAttribute,
		Type: &tracingv3.CustomTag_Literal_{Literal: &tracingv3.CustomTag_Literal{Value: p.ID.String()}},
	}}
	attributes[pathAttribute] = "%PATH(NQ:ORIG_OR_PATH)%"
	for _, name := range []string{peerAttribute, upstreamPeerAttribute, pathAttribute} {
		if value := attributes[name]; value != "" {
			tags = append(tags, &tracingv3.CustomTag{Tag: name, Type: &tracingv3.CustomTag_Value{Value: value}})
		}
	}
	manager.Tracing = &hcmv3.HttpConnectionManager_Tracing{
		// A query may hold secrets. Envoy's own attribute has all of the URL or, so bounded, no path.
		MaxPathTagLength: count(0),
		CustomTags:       tags,
		Operation:        "%REQUEST_HEADER(:METHOD)%",
		Provider: &tracev3.Tracing_Http{Name: "opentelemetry", ConfigType: &tracev3.Tracing_Http_TypedConfig{
			TypedConfig: pack(&tracev3.OpenTelemetryConfig{
				GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: tracesCluster},
				}},
				ServiceName: p.ID.String(),
				Sampler:     sampler(p.Tracing.Percent),
			}),
		}},
	}
	// Otherwise Envoy writes into the app's X-Request-Id whether a request is sampled.
	manager.RequestIdExtension = &hcmv3.RequestIDExtension{TypedConfig: pack(&uuidv3.UuidRequestIdConfig{
		PackTraceReason: no(),
	})}
}

// sampler decides in the place of Envoy's own random choice, which each hop of a trace would make anew.
func sampler(percent float64) *corev3.TypedExtensionConfig {
	const parts = 1_000_000 / 100 // of one percent
	ratio := &samplersv3.TraceIdRatioBasedSamplerConfig{SamplingPercentage: &typev3.FractionalPercent{
		Numerator: uint32(math.Round(percent * parts)), Denominator: typev3.FractionalPercent_MILLION,
	}}
	return &corev3.TypedExtensionConfig{Name: "parent", TypedConfig: pack(&samplersv3.ParentBasedSamplerConfig{
		WrappedSampler: &corev3.TypedExtensionConfig{Name: "ratio", TypedConfig: pack(ratio)},
	})}
}

// withoutTrace takes from a request the trace that it belongs to.
func withoutTrace() *corev3.TypedExtensionConfig {
	mutations := &earlyv3.HeaderMutation{}
	for _, name := range []string{"traceparent", "tracestate"} {
		mutations.Mutations = append(mutations.Mutations, &mutationv3.HeaderMutation{
			Action: &mutationv3.HeaderMutation_Remove{Remove: name},
		})
	}
	return &corev3.TypedExtensionConfig{Name: "without_trace", TypedConfig: pack(mutations)}
}

// tracesClusters is the collector, which is reached as any upstream.
func (p envoy) tracesClusters() []*clusterv3.Cluster {
	if p.Tracing.IsZero() {
		return nil
	}
	cluster := p.upstream(ir.Upstream{Address: p.Tracing.Collector, Peers: p.Tracing.Peers, Refused: p.CollectorRefused, Protocol: ir.GRPC})
	cluster.Name, cluster.AltStatName, cluster.LoadAssignment.ClusterName = tracesCluster, "", tracesCluster
	if len(p.Tracing.Peers) == 0 {
		cluster.TransportSocket = nil
	}
	return []*clusterv3.Cluster{cluster}
}
