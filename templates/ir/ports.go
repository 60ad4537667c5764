package ir

// Ports that every proxy has, apart from those of its inbound listeners and upstreams.
const (
	// AdminPort is where Envoy's admin interface listens, on 127.0.0.1 only.
	AdminPort = 15000
	// ReadinessPort answers on every address whether the data ports accept connections.
	ReadinessPort = 15021
	// ProbePort is where the kubelet asks what it would ask of the app by HTTP or TCP.
	ProbePort = 15022
	// JWTProbePort answers for the program that fetches JWT-SVIDs, beside a proxy that has to do with them.
	JWTProbePort = 15023
	// HookPort is where the kubelet runs the app's HTTP hooks.
	HookPort = 15024
	// CapturePort leads to readiness by the rules of a captured pod's network alone: without them nobody answers.
	CapturePort = 15025
	// FirstGRPCProbePort is the first of the ports for gRPC probes: one for each port of the app that has such probes.
	FirstGRPCProbePort = 15030
	// DefaultMetricsPort is that of [Metrics] unless the platform names another one. Those from ReadinessPort up to it are
	// the proxy's own.
	DefaultMetricsPort = 15090
)

// IsOwnPort says whether a port is one that a proxy may take for itself whatever it is meant to do.
func IsOwnPort(port int) bool {
	return port == AdminPort || port >= ReadinessPort && port < DefaultMetricsPort
}
