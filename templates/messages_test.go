package templates

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// These tests look at what `envoy --mode validate` does not see. They read the generated text back,
// as Envoy does, and visit every message in it, also those inside Any.

// parse reads all files of a case back into messages.
func parse(t *testing.T, name string, proxy Proxy) []proto.Message {
	t.Helper()
	config, err := Generate(proxy)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	bootstrap := &bootstrapv3.Bootstrap{}
	out := []proto.Message{bootstrap}
	if err := protojson.Unmarshal([]byte(config.Bootstrap), bootstrap); err != nil {
		t.Fatalf("%s: bootstrap: %v", name, err)
	}
	for _, text := range []string{config.Listeners, config.Clusters, config.Authorization} {
		response := &discoveryv3.DiscoveryResponse{}
		if err := protojson.Unmarshal([]byte(text), response); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, response)
	}
	return out
}

// all returns every message of type M in the case, at any depth.
func all[M proto.Message](t *testing.T, name string, proxy Proxy) []M {
	t.Helper()
	var out []M
	for _, root := range parse(t, name, proxy) {
		visit(t, root, func(m proto.Message) {
			if found, ok := m.(M); ok {
				out = append(out, found)
			}
		})
	}
	return out
}

// visit calls see with m and with every message below it, unpacking each Any.
func visit(t *testing.T, m proto.Message, see func(proto.Message)) {
	t.Helper()
	see(m)
	if packed, ok := m.(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatalf("unpack %s: %v", packed.TypeUrl, err)
		}
		visit(t, inner, see)
		return
	}
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(t, v.Message().Interface(), see)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				visit(t, value.List().Get(i).Message().Interface(), see)
			}
		case !field.IsMap() && !field.IsList() && field.Message() != nil:
			visit(t, value.Message().Interface(), see)
		}
		return true
	})
}

func eachCase(t *testing.T, check func(t *testing.T, name string, proxy Proxy)) {
	t.Helper()
	for name, proxy := range cases(t) {
		t.Run(name, func(t *testing.T) { check(t, name, proxy) })
	}
}

// TestEveryMessageIsValid holds Envoy's own rules against each message by itself: a message's Validate does
// not look into an Any.
func TestEveryMessageIsValid(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		inside := 0
		for _, root := range parse(t, name, proxy) {
			visit(t, root, func(m proto.Message) {
				if _, ok := m.(*anypb.Any); ok {
					inside++
				}
				if v, ok := m.(interface{ ValidateAll() error }); ok {
					if err := v.ValidateAll(); err != nil {
						t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
					}
				}
			})
		}
		if inside < 10 {
			t.Errorf("visited %d messages inside Any: the walk does not reach them", inside)
		}
	})
}

func TestTLSIsMutualAndCurrent(t *testing.T) {
	curves := []string{"X25519MLKEM768", "X25519", "P-256"}
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		contexts := all[*tlsv3.CommonTlsContext](t, name, proxy)
		if want := len(proxy.Inbound) + len(proxy.Upstreams); len(contexts) != want {
			t.Errorf("%d TLS contexts, want one for each port that carries data: %d", len(contexts), want)
		}
		for _, tls := range contexts {
			params := tls.GetTlsParams()
			if params.GetTlsMinimumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 ||
				params.GetTlsMaximumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 {
				t.Errorf("TLS versions: %v", params)
			}
			if !slices.Equal(params.GetEcdhCurves(), curves) {
				t.Errorf("curves: got %v, want %v", params.GetEcdhCurves(), curves)
			}
			if got := tls.GetTlsCertificateSdsSecretConfigs(); len(got) != 1 || got[0].GetName() != proxy.ID.String() {
				t.Errorf("certificate: got %v, want %s", got, proxy.ID)
			}
			combined := tls.GetCombinedValidationContext()
			if got := combined.GetValidationContextSdsSecretConfig().GetName(); got != "ALL" {
				t.Errorf("bundles: got %q, want ALL", got)
			}
			sans := combined.GetDefaultValidationContext().GetMatchTypedSubjectAltNames()
			if len(sans) == 0 {
				t.Error("no SANs: everyone would pass")
			}
			for _, san := range sans {
				if san.GetSanType() != tlsv3.SubjectAltNameMatcher_URI {
					t.Errorf("SAN type: %v", san)
				}
				exact, prefix := san.GetMatcher().GetExact(), san.GetMatcher().GetPrefix()
				if exact == "" && !strings.HasSuffix(prefix, "/") {
					t.Errorf("a SAN must be exact or a prefix that ends in a slash: %v", san)
				}
				if !strings.HasPrefix(exact+prefix, "spiffe://example.org/") {
					t.Errorf("a SAN outside the trust domain: %v", san)
				}
			}
		}
		downstream := all[*tlsv3.DownstreamTlsContext](t, name, proxy)
		if len(downstream) != len(proxy.Inbound) {
			t.Errorf("%d downstream contexts, want %d", len(downstream), len(proxy.Inbound))
		}
		for _, tls := range downstream {
			if !tls.GetRequireClientCertificate().GetValue() {
				t.Error("callers without a certificate are let in")
			}
			if !tls.GetDisableStatelessSessionResumption() || !tls.GetDisableStatefulSessionResumption() {
				t.Error("sessions can be resumed, without a check of the certificate")
			}
		}
		for _, tls := range all[*tlsv3.UpstreamTlsContext](t, name, proxy) {
			if keys := tls.GetMaxSessionKeys(); keys == nil || keys.GetValue() != 0 {
				t.Errorf("sessions can be resumed: max_session_keys %v", keys)
			}
		}
	})
}

// TestAgentIsAskedTheSameWayEverywhere: Envoy opens one stream to the agent per distinct source.
func TestAgentIsAskedTheSameWayEverywhere(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		sources := map[string]bool{}
		for _, secret := range all[*tlsv3.SdsSecretConfig](t, name, proxy) {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(secret.GetSdsConfig())
			if err != nil {
				t.Fatal(err)
			}
			sources[string(raw)] = true
			config := secret.GetSdsConfig()
			if config.GetInitialFetchTimeout() == nil || config.GetInitialFetchTimeout().AsDuration() != 0 {
				t.Errorf("initial_fetch_timeout: got %v, want 0s: Envoy must wait for its SVID", config.GetInitialFetchTimeout())
			}
			if got := config.GetApiConfigSource().GetApiType(); got != corev3.ApiConfigSource_GRPC {
				t.Errorf("API type: got %s; the agent has no incremental SDS", got)
			}
		}
		if len(sources) != 1 {
			t.Errorf("%d distinct SDS sources, want 1", len(sources))
		}
	})
}

// TestReferencesExist holds every name of a cluster against the clusters that there are, also where Envoy
// would only notice under traffic.
func TestReferencesExist(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		defined := map[string]int{}
		for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
			defined[cluster.GetName()]++
			if got := cluster.GetLoadAssignment().GetClusterName(); got != cluster.GetName() {
				t.Errorf("cluster %s has the endpoints of %q", cluster.GetName(), got)
			}
		}
		used := map[string]bool{}
		for _, route := range all[*routev3.RouteAction](t, name, proxy) {
			used[route.GetCluster()] = true
		}
		for _, tcp := range all[*tcpproxyv3.TcpProxy](t, name, proxy) {
			used[tcp.GetCluster()] = true
		}
		for _, agent := range all[*corev3.GrpcService_EnvoyGrpc](t, name, proxy) {
			used[agent.GetClusterName()] = true
		}
		for _, check := range all[*healthcheckv3.HealthCheck](t, name, proxy) {
			for cluster := range maps.Keys(check.GetClusterMinHealthyPercentages()) {
				used[cluster] = true
			}
		}
		for cluster, times := range defined {
			if times != 1 {
				t.Errorf("cluster %s is defined %d times", cluster, times)
			}
			if !used[cluster] {
				t.Errorf("cluster %s is used by nothing", cluster)
			}
		}
		for cluster := range used {
			if defined[cluster] == 0 {
				t.Errorf("cluster %s is used and not defined", cluster)
			}
		}
		// Listeners and clusters are read in any order.
		for _, routes := range all[*routev3.RouteConfiguration](t, name, proxy) {
			if routes.GetValidateClusters() == nil || routes.GetValidateClusters().GetValue() {
				t.Errorf("routes %s would be refused before their cluster has been read", routes.GetName())
			}
		}
	})
}

// TestPortsAreReachableAsMeant: mTLS from outside, plain text and admin from loopback only.
func TestPortsAreReachableAsMeant(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		want := map[string]string{"readiness": "0.0.0.0:15021"}
		for _, in := range proxy.Inbound {
			want[inboundListener(in)] = fmt.Sprintf("0.0.0.0:%d", in.Listen)
		}
		for _, up := range proxy.Upstreams {
			want[upstreamListener(up)] = fmt.Sprintf("127.0.0.1:%d", up.Listen)
		}
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			socket := listener.GetAddress().GetSocketAddress()
			got := fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())
			if got != want[listener.GetName()] {
				t.Errorf("listener %s is at %s, want %q", listener.GetName(), got, want[listener.GetName()])
			}
			delete(want, listener.GetName())
			inbound := listener.GetTrafficDirection() == corev3.TrafficDirection_INBOUND
			for _, chain := range listener.GetFilterChains() {
				if hasTLS := chain.GetTransportSocket() != nil; hasTLS != inbound {
					t.Errorf("listener %s: inbound %t, TLS %t", listener.GetName(), inbound, hasTLS)
				}
			}
		}
		if len(want) > 0 {
			t.Errorf("missing listeners: %v", want)
		}
		for _, admin := range all[*bootstrapv3.Admin](t, name, proxy) {
			if got := admin.GetAddress().GetSocketAddress(); got.GetAddress() != "127.0.0.1" || got.GetPortValue() != AdminPort {
				t.Errorf("admin is at %v", got)
			}
			if len(admin.GetAllowPaths()) == 0 {
				t.Error("admin answers everything, also /quitquitquit")
			}
		}
	})
}

// TestRequestsAreAuthorizedAsConnectionsAre compares the two lists that say who may call.
func TestRequestsAreAuthorizedAsConnectionsAre(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		rules := all[*rbacv3.RBAC](t, name, proxy)
		if len(rules) != 1 {
			t.Fatalf("%d RBAC resources: a file takes exactly one", len(rules))
		}
		if rules[0].GetAction() != rbacv3.RBAC_ALLOW {
			t.Errorf("action %s", rules[0].GetAction())
		}
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			if listener.GetTrafficDirection() != corev3.TrafficDirection_INBOUND {
				continue
			}
			var byTLS, byRequest []string
			visit(t, listener, func(m proto.Message) {
				switch m := m.(type) {
				case *tlsv3.SubjectAltNameMatcher:
					byTLS = append(byTLS, protojson.Format(m.GetMatcher()))
				case *hcmv3.HttpConnectionManager:
					if first := m.GetHttpFilters()[0]; first.GetConfigDiscovery() == nil || first.GetName() != authorizationName {
						t.Errorf("listener %s: the first filter is %s", listener.GetName(), first.GetName())
					}
				}
			})
			policy := rules[0].GetPolicies()[listener.GetName()]
			if got := policy.GetPermissions(); len(got) != 1 || got[0].GetDestinationPort() != listener.GetAddress().GetSocketAddress().GetPortValue() {
				t.Errorf("listener %s: the policy is for %v", listener.GetName(), got)
			}
			for _, principal := range policy.GetPrincipals() {
				byRequest = append(byRequest, protojson.Format(principal.GetAuthenticated().GetPrincipalName()))
			}
			if len(byTLS) == 0 || !slices.Equal(normal(byTLS), normal(byRequest)) {
				t.Errorf("listener %s: TLS accepts %v, requests %v", listener.GetName(), byTLS, byRequest)
			}
		}
	})
}

// normal drops the white space that protojson puts in at random.
func normal(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = strings.Join(strings.Fields(text), "")
	}
	return out
}

// TestConnectionsEndBeforeTheirCertificate covers both sides and both kinds of traffic.
func TestConnectionsEndBeforeTheirCertificate(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy Proxy) {
		life := proxy.SVIDTTL / 2
		for _, manager := range all[*hcmv3.HttpConnectionManager](t, name, proxy) {
			if !strings.HasPrefix(manager.GetStatPrefix(), "inbound_") {
				continue
			}
			if got := manager.GetCommonHttpProtocolOptions().GetMaxConnectionDuration().AsDuration(); got != life {
				t.Errorf("%s: life %s, want %s", manager.GetStatPrefix(), got, life)
			}
			if !manager.GetHttp1SafeMaxConnectionDuration() {
				t.Errorf("%s: the end of a connection would lose requests", manager.GetStatPrefix())
			}
		}
		for _, tcp := range all[*tcpproxyv3.TcpProxy](t, name, proxy) {
			if got := tcp.GetMaxDownstreamConnectionDuration().AsDuration(); got != life {
				t.Errorf("%s: life %s, want %s", tcp.GetStatPrefix(), got, life)
			}
		}
		for _, cluster := range all[*clusterv3.Cluster](t, name, proxy) {
			if cluster.GetTransportSocket() == nil || cluster.GetTypedExtensionProtocolOptions() == nil {
				continue
			}
			found := false
			visit(t, cluster, func(m proto.Message) {
				if options, ok := m.(*corev3.HttpProtocolOptions); ok {
					found = true
					if got := options.GetMaxConnectionDuration().AsDuration(); got != life {
						t.Errorf("%s: life %s, want %s", cluster.GetName(), got, life)
					}
					if got := options.GetIdleTimeout().AsDuration(); got != idleTimeout {
						t.Errorf("%s: idle timeout %s", cluster.GetName(), got)
					}
				}
			})
			if !found {
				t.Errorf("%s has no bound", cluster.GetName())
			}
		}
	})
}

func TestArgs(t *testing.T) {
	want := []string{
		"--config-path", "/etc/envoy/bootstrap.json", "--log-level", "warning", "--concurrency", "1", "--disable-hot-restart",
		"--drain-time-s", "15", "--drain-strategy", "immediate", "--file-flush-interval-msec", "200",
	}
	if got := Args("warning", 0); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
