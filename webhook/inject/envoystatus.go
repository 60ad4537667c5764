package inject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// EnvoyStatus is what the Envoy of an injected pod was started with. But for Config a running Envoy cannot take
// another.
type EnvoyStatus struct {
	Inbound []uint16 `json:"inbound,omitempty"` // ports that serve callers
	App     []uint16 `json:"app,omitempty"`     // ports of the app behind them
	// AppAddresses are those of App that are not on 127.0.0.1, with their ports.
	AppAddresses []string `json:"appAddresses,omitempty"`
	Upstreams    []uint16 `json:"upstreams,omitempty"` // ports on 127.0.0.1 for the app's requests to others
	TCP          []uint16 `json:"tcp,omitempty"`       // ports on 127.0.0.1 for the app's TCP connections to others
	// Names are those that the app calls, with their ports.
	Names []string `json:"names,omitempty"`
	// Redirects are from ports of a captured pod to Envoy's, such as "8080:8443".
	Redirects []string `json:"redirects,omitempty"`
	// IPFamily is that of the addresses it listens on, empty for IPv4.
	IPFamily string `json:"ipFamily,omitempty"`
	// RequestsCertificates says that a port takes callers with and without a certificate, which holds for all of an Envoy.
	RequestsCertificates bool `json:"requestsCertificates,omitempty"`
	// AppProtocols are what its app speaks, such as "8080:grpc", where names of ports and Services say it and it is not HTTP/1.
	AppProtocols []string `json:"appProtocols,omitempty"`
	// TCPDeadlines says that its bootstrap allows [ir.Proxy.TCPDeadlines].
	TCPDeadlines bool `json:"tcpDeadlines,omitempty"`
	// Secret is the one whose certificate Envoy presents, empty if it presents its SVID.
	Secret string `json:"secret,omitempty"`
	// CAs are the Secrets with the CAs of servers outside the mesh, in order.
	CAs []string `json:"cas,omitempty"`
	// Audiences are those for which the container spiffe-jwt fetches tokens.
	Audiences []string `json:"audiences,omitempty"`
	// Config is the [ConfigDigest] of the configuration that the pod began with.
	Config string `json:"config"`
}

// envoyStatus is what an Envoy that is made of an intent starts with.
func envoyStatus(in intent.Intent, config string) *EnvoyStatus {
	s := &EnvoyStatus{
		RequestsCertificates: in.Proxy.RequestsCertificates(),
		TCPDeadlines:         in.Proxy.TCPDeadlines,
		Secret:               in.CertificateSecret,
		CAs:                  in.Proxy.CASecrets(),
		Audiences:            in.Audiences(),
		Redirects:            redirectsOf(in.Proxy),
		AppProtocols:         statusOfProtocols(in.AppProtocols),
		Config:               config,
	}
	if f := in.Proxy.IPFamily; f != ir.IPv4 {
		s.IPFamily = f.String()
	}
	for _, l := range in.Proxy.Inbound {
		s.Inbound = append(s.Inbound, l.Listen)
		if l.App != 0 && !slices.Contains(s.App, l.App) {
			s.App = append(s.App, l.App)
			if l.AppHost != "" {
				s.AppAddresses = append(s.AppAddresses, l.AppHost.With(l.App))
			}
		}
	}
	for _, up := range in.Proxy.Upstreams {
		switch {
		case in.Proxy.Gateway: // whose upstreams have no ports
		case !up.Name.IsZero():
			for _, port := range slices.Concat([]uint16{up.Listen}, up.Passthrough) {
				s.Names = append(s.Names, up.Name.At(port))
			}
		case up.Protocol == ir.TCP:
			s.TCP = append(s.TCP, up.Listen)
		default:
			s.Upstreams = append(s.Upstreams, up.Listen)
		}
	}
	return s
}

// envoy is what the status says of Envoy, nothing if it says nothing.
func (s Status) envoy() EnvoyStatus {
	if s.Envoy == nil {
		return EnvoyStatus{}
	}
	return *s.Envoy
}

// samePorts says whether the listeners and clusters that go with one status are of use to an Envoy that was started
// with the other: the ports that it watches for readiness are there and stay, and so is whether it requests
// certificates.
func (s EnvoyStatus) samePorts(other EnvoyStatus) bool {
	return sameSet(s.watched(), other.watched()) && sameSet(s.App, other.App) && sameSet(s.AppAddresses, other.AppAddresses) && sameSet(s.Upstreams, other.Upstreams) &&
		sameSet(s.Names, other.Names) &&
		sameSet(s.Redirects, other.Redirects) &&
		s.RequestsCertificates == other.RequestsCertificates
}

// watched are the ports of Envoy's own that readiness connects to: upstreams with requests share one listener, and the
// first of their ports stands for all.
func (s EnvoyStatus) watched() []uint16 {
	return slices.Concat(s.Inbound, s.TCP, s.Upstreams[:min(1, len(s.Upstreams))])
}

// sameSet compares ports or addresses in any order.
func sameSet[T cmp.Ordered](a, b []T) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// startedWith is what the Envoy of an injected pod was started with. Today is what injection would start it with now.
// The status of a pod that an older version injected does not say: there the pod's spec counts, and, for what is not in
// it, today. So it is not seen that the namespace has moved a port of the app or of an upstream since.
func startedWith(pod *corev1.Pod, today EnvoyStatus) EnvoyStatus {
	if s := StatusOf(pod).Envoy; s != nil {
		return *s
	}
	s := today
	s.Secret = certificateSecret(pod)
	s.CAs = caSecrets(pod)
	s.Inbound, s.Audiences = nil, nil
	if c := containerNamed(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), intent.SidecarName); c != nil {
		s.Inbound = declaredInbound(*c, today.Inbound)
	}
	if c := containerNamed(pod.Spec.InitContainers, intent.JWTName); c != nil {
		s.Audiences = fetchedAudiences(*c)
	}
	return s
}

// declaredInbound are the inbound ports that Envoy's container declares: those that injection named, and in a gateway
// those of the user's that would be inbound ports today.
func declaredInbound(c corev1.Container, today []uint16) []uint16 {
	var ports []uint16
	for _, p := range c.Ports {
		port := uint16(p.ContainerPort) //nolint:gosec // the API server takes no others
		kind, number, _ := strings.Cut(p.Name, "-")
		ours := slices.Contains([]string{"mtls", "plain", "tls"}, kind) && number == fmt.Sprint(port)
		if ours || slices.Contains(today, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// fetchedAudiences are those in the arguments of the container that fetches tokens.
func fetchedAudiences(c corev1.Container) []string {
	var audiences []string
	for n, arg := range c.Args {
		if n > 0 && c.Args[n-1] == audienceFlag {
			audiences = append(audiences, strings.ReplaceAll(arg, "$$", "$"))
		}
	}
	return audiences
}

// certificateSecret is the Secret whose certificate an injected pod's Envoy presents, empty if there is none.
func certificateSecret(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == CertificateVolume && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}
