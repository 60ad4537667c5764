package ir

// Probe is a probe of the kubelet that Envoy passes on to the app, because the app may listen on 127.0.0.1 only. Its
// port answers what the probes ask and nothing else, and writes no access log.
type Probe struct {
	// Listen is the port that the kubelet asks, [ProbePort] for all but gRPC and hooks. A hook is asked for as an HTTP probe
	// is, on [HookPort], where Envoy has no answer of its own. A gRPC probe has a port of its own,
	// because the kubelet cannot say there which container it means.
	Listen uint16
	// Path is the exact path that the kubelet asks for, unique on its port; none for gRPC.
	Path string
	Kind ProbeKind
	// App is the app's port, and AppHost the address on which it listens; see [Proxy.PassesOn].
	App     uint16
	AppHost AppHost
	// OwnHost says that the kubelet sends a Host that the user wrote. Otherwise the app sees the address that the kubelet
	// asked, with its own port.
	OwnHost bool
	// Target is the app's path with its query, for HTTP and HTTPS.
	Target string
}

// ProbeKind is how the app is asked. The zero value is HTTP.
type ProbeKind int

// The kinds.
const (
	ProbeHTTP  ProbeKind = iota // GET, with the kubelet's headers; a redirection counts as success and is not followed
	ProbeHTTPS                  // the same over TLS, whose certificate is not verified, as the kubelet does it
	ProbeTCP                    // 200 when the app accepts connections, else 503
	ProbeGRPC                   // grpc.health.v1.Health/Check
)

func probeKinds() []string {
	return []string{ProbeHTTP: "HTTP", ProbeHTTPS: "HTTPS", ProbeTCP: "TCP", ProbeGRPC: "gRPC"}
}

func (k ProbeKind) String() string { return nameOf("probe", probeKinds(), k) }

func (k ProbeKind) valid() bool { return known(probeKinds(), k) }

// HasTarget says whether the app is asked for a path.
func (k ProbeKind) HasTarget() bool { return k == ProbeHTTP || k == ProbeHTTPS }

// PassesOn says whether the kubelet asks Envoy in the place of the app. It reaches an app on the address of the pod itself,
// unless that one's ports are captured. Then requests go on to the address that it calls; for TCP Envoy would have to know
// the address before anybody calls.
func (p Proxy) PassesOn(pr Probe) bool {
	return pr.AppHost != PodIP || p.Captured && pr.Kind != ProbeTCP
}
