package templates

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	fixedheapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Envoy sheds load before the kernel ends its container for taking more memory than its limit. It measures its heap and
// not its cgroup: what a cgroup uses includes the pages of Envoy's own program that happen to be cached, up to 90 MiB,
// which the kernel takes back by itself, and which would look like load under a small limit.
const (
	// heapShare is the part of the container's limit that the heap may take. The other quarter is for the code that runs,
	// stacks, and what the kernel holds for sockets.
	heapShare = 0.75
	// overloadInterval is how often the heap is looked at: through one worker thread some 50 MiB pass meanwhile.
	overloadInterval = 50 * time.Millisecond

	heapMonitor = "heap"
)

// Parts of the heap's share at which something begins. What callers notice least comes first, and ends first when there
// is less again. The distance to the limit is for what is under way already when a step begins: an answer whose reader
// stops holds a streamWindow only after its request was let in.
const (
	shrinkAt     = 0.50 // memory that is free already goes back to the kernel, once a second, but for keptFree bytes
	hurryAt      = 0.55 // idle connections, resting requests and handshakes get less time, least at rejectAt
	resetFrom    = 0.65 // HTTP/2 streams that hold most are ended …
	resetAllFrom = 0.80 // … down to those of 2^resetPower bytes
	refuseAt     = 0.80 // new requests get 503
	rejectAt     = 0.90 // new connections are closed

	resetPower       = 17 // 128 KiB: streams that are read hold less
	keptFree         = 8 << 20
	hurriedIdle      = 5 * time.Second
	hurriedStream    = 10 * time.Second
	hurriedHandshake = time.Second
)

// overload is nil where the container's limit is not known: then nothing says how much is too much.
func (p envoy) overload() *overloadv3.OverloadManager {
	if p.MemoryLimit == 0 {
		return nil
	}
	return &overloadv3.OverloadManager{
		RefreshInterval: lasting(overloadInterval),
		ResourceMonitors: []*overloadv3.ResourceMonitor{{
			Name: heapMonitor,
			ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: pack(&fixedheapv3.FixedHeapConfig{
				MaxHeapSizeBytes: uint64(float64(p.MemoryLimit) * heapShare),
			})},
		}},
		BufferFactoryConfig: &overloadv3.BufferFactoryConfig{MinimumAccountToTrackPowerOfTwo: resetPower},
		Actions: []*overloadv3.OverloadAction{
			overloadAction("shrink_heap", from(shrinkAt), &overloadv3.ShrinkHeapConfig{
				TimerInterval: lasting(time.Second), MaxUnfreedMemoryBytes: wrapperspb.UInt64(keptFree),
			}),
			overloadAction("reduce_timeouts", between(hurryAt, rejectAt), &overloadv3.ScaleTimersOverloadActionConfig{
				TimerScaleFactors: []*overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer{
					leastTime(overloadv3.ScaleTimersOverloadActionConfig_HTTP_DOWNSTREAM_CONNECTION_IDLE, hurriedIdle),
					leastTime(overloadv3.ScaleTimersOverloadActionConfig_HTTP_DOWNSTREAM_STREAM_IDLE, hurriedStream),
					leastTime(overloadv3.ScaleTimersOverloadActionConfig_TRANSPORT_SOCKET_CONNECT, hurriedHandshake),
				},
			}),
			overloadAction("reset_high_memory_stream", between(resetFrom, resetAllFrom), nil),
			overloadAction("stop_accepting_requests", from(refuseAt), nil),
			overloadAction("reject_incoming_connections", from(rejectAt), nil),
		},
	}
}

// leastTime is what is left of a time-out at the end.
func leastTime(
	kind overloadv3.ScaleTimersOverloadActionConfig_TimerType,
	least time.Duration,
) *overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer {
	return &overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer{
		Timer: kind,
		OverloadAdjust: &overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer_MinTimeout{
			MinTimeout: lasting(least),
		},
	}
}

func overloadAction(name string, trigger *overloadv3.Trigger, config proto.Message) *overloadv3.OverloadAction {
	action := &overloadv3.OverloadAction{
		Name:     "envoy.overload_actions." + name,
		Triggers: []*overloadv3.Trigger{trigger},
	}
	if config != nil {
		action.TypedConfig = pack(config)
	}
	return action
}

func from(pressure float64) *overloadv3.Trigger {
	return &overloadv3.Trigger{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Threshold{
		Threshold: &overloadv3.ThresholdTrigger{Value: pressure},
	}}
}

func between(begins, most float64) *overloadv3.Trigger {
	return &overloadv3.Trigger{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Scaled{
		Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: begins, SaturationThreshold: most},
	}}
}

// exempt lets the kubelet's probes and whoever reads statistics in also while load is shed: a pod that is short of
// memory for a moment must not be restarted for it.
func exempt(listeners []*listenerv3.Listener) []*listenerv3.Listener {
	for _, listener := range listeners {
		listener.BypassOverloadManager = true
	}
	return listeners
}

// shedding adds to the bootstrap what keeps Envoy within its container's limit.
func (p envoy) shedding(bootstrap *bootstrapv3.Bootstrap) *bootstrapv3.Bootstrap {
	bootstrap.OverloadManager = p.overload()
	if bootstrap.OverloadManager != nil {
		exempt(bootstrap.StaticResources.Listeners)
	}
	return bootstrap
}
