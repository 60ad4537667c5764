package templates

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// These tests look at what `envoy --mode validate` does not see. They read the generated text back,
// as Envoy does, and visit every message in it, also those inside Any.

// parse reads all files of a case back into messages.
func parse(t *testing.T, name string, proxy ir.Proxy) []proto.Message {
	t.Helper()
	config, err := Generate(asJSON(proxy))
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
func all[M proto.Message](t *testing.T, name string, proxy ir.Proxy) []M {
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

func eachCase(t *testing.T, check func(t *testing.T, name string, proxy ir.Proxy)) {
	t.Helper()
	for name, proxy := range cases(t) {
		t.Run(name, func(t *testing.T) { check(t, name, proxy) })
	}
}

func TestTLSIsMutualAndCurrent(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		proxy = withoutRefused(proxy) // who is refused is in TestPrefixWithoutRefused, and on the real Envoy
		// What each port that carries data should accept, by the spelling of the matchers.
		var want, got [][]string
		inbound, older := 0, 0
		for _, in := range proxy.Inbound {
			if in.MinTLS == ir.TLS12 {
				older--
			}
			if in.TLS == ir.None {
				continue
			}
			inbound++
			if in.Clients == ir.NoRequest {
				continue
			}
			peers := in.Callers()
			if in.Audit || in.Clients == ir.Request {
				peers = nil
			}
			want = append(want, spellings(peers))
		}
		for _, up := range proxy.Upstreams {
			if !up.Server.External { // which is in TestServersAreVerified
				want = append(want, spellings(up.Peers))
			}
		}
		if len(proxy.Tracing.Peers) > 0 {
			want = append(want, spellings(proxy.Tracing.Peers))
		}
		for _, tls := range all[*tlsv3.CommonTlsContext](t, name, proxy) {
			if isOutside(tls) {
				continue
			}
			params := tls.GetTlsParams()
			if params.GetTlsMaximumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 {
				t.Errorf("TLS versions: %v", params)
			}
			if tls.GetTlsCertificateSdsSecretConfigs() == nil {
				continue // a probe's
			}
			switch params.GetTlsMinimumProtocolVersion() {
			case tlsv3.TlsParameters_TLSv1_3:
			case tlsv3.TlsParameters_TLSv1_2:
				older++
			default:
				t.Errorf("TLS versions: %v", params)
			}
			if got := tls.GetTlsCertificateSdsSecretConfigs(); len(got) != 1 || got[0].GetName() != proxy.ID.String() && got[0].GetName() != certificateName {
				t.Errorf("certificate: got %v, want %s or that of a Secret", got, proxy.ID)
			}
			combined := tls.GetCombinedValidationContext()
			if combined == nil {
				continue // below, and by listener in TestWhoMayComeWithoutCertificate
			}
			accepted := []string{}
			for _, san := range combined.GetDefaultValidationContext().GetMatchTypedSubjectAltNames() {
				if san.GetSanType() != tlsv3.SubjectAltNameMatcher_URI {
					t.Errorf("SAN type: %v", san)
				}
				accepted = append(accepted, spelling(san.GetMatcher()))
			}
			bundles := "ALL"
			if tls.GetCombinedValidationContext() != nil && proxy.RequestsCertificates() && len(accepted) == 0 {
				bundles = combined.GetValidationContextSdsSecretConfig().GetName() // in TestWhoMayComeWithoutCertificate
			}
			if len(accepted) > 0 {
				domain := "spiffe://" + strings.Split(accepted[0], "/")[2]
				if !slices.ContainsFunc(accepted, func(peer string) bool { return !strings.HasPrefix(peer, domain+"/") }) {
					bundles = domain
				}
			}
			if got := combined.GetValidationContextSdsSecretConfig().GetName(); got != bundles {
				t.Errorf("bundles for %q: got %q, want %q", accepted, got, bundles)
			}
			got = append(got, accepted)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("accepted on each port (-want +got):\n%s", diff)
		}
		if older != 0 {
			t.Errorf("%d ports more than asked for take TLS 1.2", older)
		}
		downstream := all[*tlsv3.DownstreamTlsContext](t, name, proxy)
		if len(downstream) != inbound {
			t.Errorf("%d downstream contexts, want %d", len(downstream), inbound)
		}
		for _, tls := range downstream {
			if !tls.GetDisableStatelessSessionResumption() || !tls.GetDisableStatefulSessionResumption() {
				t.Error("sessions can be resumed, without a check of the certificate")
			}
		}
		for _, tls := range all[*tlsv3.UpstreamTlsContext](t, name, proxy) {
			if tls.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs() == nil {
				continue // a probe's
			}
			if keys := tls.GetMaxSessionKeys(); keys == nil || keys.GetValue() != 0 {
				t.Errorf("sessions can be resumed: max_session_keys %v", keys)
			}
		}
	})
}

// TestWhoMayComeWithoutCertificate holds each port's TLS against what is said of its clients, and where its certificate
// comes from.
func TestWhoMayComeWithoutCertificate(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		listeners := map[string]*listenerv3.Listener{}
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			listeners[listener.GetName()] = listener
		}
		for _, in := range proxy.Inbound {
			visit(t, listeners[inboundListener(in)], func(m proto.Message) {
				tls, ok := m.(*tlsv3.DownstreamTlsContext)
				if !ok {
					return
				}
				if got := tls.GetRequireClientCertificate().GetValue(); got != (in.Clients == ir.Require) {
					t.Errorf("port %d: a certificate is required: %t, with clients %s", in.Listen, got, in.Clients)
				}
				if got := tls.GetCommonTlsContext().GetValidationContextType() != nil; got != (in.Clients != ir.NoRequest) {
					t.Errorf("port %d: a certificate is asked for: %t, with clients %s", in.Listen, got, in.Clients)
				}
				if name := tls.GetCommonTlsContext().GetCombinedValidationContext().GetValidationContextSdsSecretConfig().GetName(); in.Clients == ir.Request &&
					name != in.Peers[0].TrustDomain().IDString() {
					t.Errorf("port %d: certificates are held against %q", in.Listen, name)
				}
				want := proxy.ID.String()
				if in.Certificate {
					want = certificateName
				}
				if got := tls.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()[0].GetName(); got != want {
					t.Errorf("port %d: shows %s, want %s", in.Listen, got, want)
				}
			})
		}
		// The agent is told by the bootstrap, which never changes, whose validator is meant.
		told := all[*bootstrapv3.Bootstrap](t, name, proxy)[0].GetNode().GetMetadata().GetFields()[sdsWithoutValidator].GetBoolValue()
		if want := proxy.RequestsCertificates(); told != want {
			t.Errorf("the agent is asked for authorities without the SPIFFE validator: %t, want %t", told, want)
		}
	})
}

// spelling is that of the peer that a matcher came from.
func spelling(m *matcherv3.StringMatcher) string {
	if prefix := m.GetPrefix(); prefix != "" {
		return prefix + "*"
	}
	return m.GetExact()
}

func spellings(peers []ir.Peer) []string {
	out := []string{}
	for _, peer := range peers {
		out = append(out, peer.String())
	}
	return out
}

// TestAgentIsAskedTheSameWayEverywhere: Envoy opens one stream to the agent per distinct source.
func TestAgentIsAskedTheSameWayEverywhere(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		sources := map[string]bool{}
		for _, secret := range all[*tlsv3.SdsSecretConfig](t, name, proxy) {
			if secret.GetSdsConfig().GetPathConfigSource() != nil {
				continue // of the program beside Envoy, and of Secrets
			}
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
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		defined := map[string]int{}
		for _, cluster := range append(all[*clusterv3.Cluster](t, name, proxy), clustersOfPodIP(t, proxy)...) {
			defined[cluster.GetName()]++
			isCalled := cluster.GetType() == clusterv3.Cluster_ORIGINAL_DST // which has no endpoints of its own
			if got := cluster.GetLoadAssignment().GetClusterName(); got != cluster.GetName() && !isCalled {
				t.Errorf("cluster %s has the endpoints of %q", cluster.GetName(), got)
			}
		}
		used := map[string]bool{}
		for _, route := range all[*routev3.RouteAction](t, name, proxy) {
			if route.GetClusterHeader() == "" {
				used[route.GetCluster()] = true
			}
		}
		for _, up := range proxy.Upstreams { // found by the port that the app asks
			used[upstreamCluster(up)] = true
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
		for _, jwks := range all[*jwtv3.RemoteJwks](t, name, proxy) {
			used[jwks.GetHttpUri().GetCluster()] = true
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

// TestPortsAreReachableAsMeant: what callers and the kubelet ask from outside, plain text of the app and admin from
// loopback only.
func TestPortsAreReachableAsMeant(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		everywhere := "0.0.0.0"
		if proxy.IPFamily != ir.IPv4 {
			everywhere = "::"
		}
		want := map[string]string{everywhere + ":15021": readinessName}
		for _, in := range proxy.Inbound {
			want[fmt.Sprintf("%s:%d", everywhere, in.Listen)] = inboundListener(in)
		}
		for _, up := range proxy.Upstreams {
			for _, port := range up.Passthrough {
				want[fmt.Sprintf("%s:%d", up.Loopback, port)] = passthroughName(up, port)
			}
			ip, port := up.Socket()
			switch at := fmt.Sprintf("%s:%d", ip, port); {
			case !up.Match.IsZero():
			case up.Protocol == ir.TCP:
				want[at] = upstreamCluster(up)
			case !up.Name.IsZero():
				want[at] = namesListener
			default:
				want[at] = upstreamsListener
			}
		}
		for _, probe := range proxy.Probes {
			want[fmt.Sprintf("%s:%d", everywhere, probe.Listen)] = probeListener(probe.Listen)
		}
		if port := proxy.Metrics.Port; port != 0 {
			want[fmt.Sprintf("%s:%d", everywhere, port)] = metricsName
		}
		got := map[string]string{}
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			if listener.GetInternalListener() != nil {
				continue // is not reachable
			}
			addresses := []*corev3.Address{listener.GetAddress()}
			for _, more := range listener.GetAdditionalAddresses() {
				addresses = append(addresses, more.GetAddress())
			}
			for _, address := range addresses {
				socket := address.GetSocketAddress()
				got[fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())] = listener.GetName()
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listeners by address (-want +got):\n%s", diff)
		}
		for _, admin := range all[*bootstrapv3.Admin](t, name, proxy) {
			if got := admin.GetAddress().GetSocketAddress(); got.GetAddress() != "127.0.0.1" || got.GetPortValue() != ir.AdminPort {
				t.Errorf("admin is at %v", got)
			}
			if len(admin.GetAllowPaths()) == 0 {
				t.Error("admin answers everything, also /quitquitquit")
			}
		}
	})
}

// TestReadinessAsksEveryListener: of those that carry data, one address each, and the apps behind them.
func TestReadinessAsksEveryListener(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		want := map[string][]uint32{}
		apps := map[uint16]bool{0: true}
		for _, in := range proxy.Inbound {
			asking := appPorts
			if in.AppHost == ir.PodIP {
				asking = podApps
			}
			if !apps[in.App] {
				apps[in.App] = true
				want[asking] = append(want[asking], uint32(in.App))
			}
		}
		own := map[string]bool{} // sockets on addresses of names
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			if direction := listener.GetTrafficDirection(); direction != corev3.TrafficDirection_UNSPECIFIED {
				socket := listener.GetAddress().GetSocketAddress()
				want[ownPorts] = append(want[ownPorts], socket.GetPortValue())
				own[fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())] = strings.HasPrefix(socket.GetAddress(), "127.0.1.")
			}
		}
		got := map[string][]uint32{}
		for _, cluster := range append(all[*clusterv3.Cluster](t, name, proxy), clustersOfPodIP(t, proxy)...) {
			if cluster.GetName() != ownPorts && cluster.GetName() != appPorts && cluster.GetName() != podApps {
				continue
			}
			for _, endpoint := range cluster.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints() {
				socket := endpoint.GetEndpoint().GetAddress().GetSocketAddress()
				address := "127.0.0.1"
				if cluster.GetName() == appPorts {
					address = proxy.AppHostOf(uint16(socket.GetPortValue())).IP() //nolint:gosec // a port
				}
				if cluster.GetName() == podApps {
					address = "$(POD_IP)"
				}
				if cluster.GetName() == ownPorts && own[fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())] {
					address = socket.GetAddress()
				}
				if socket.GetAddress() != address {
					t.Errorf("%s asks %s, want %s", cluster.GetName(), socket.GetAddress(), address)
				}
				got[cluster.GetName()] = append(got[cluster.GetName()], socket.GetPortValue())
			}
		}
		order := cmpopts.SortSlices(func(a, b uint32) bool { return a < b })
		if diff := cmp.Diff(want, got, order); diff != "" {
			t.Errorf("ports that are asked (-want +got):\n%s", diff)
		}
	})
}

// clustersOfPodIP are those of the command line.
func clustersOfPodIP(t *testing.T, proxy ir.Proxy) []*clusterv3.Cluster {
	t.Helper()
	bootstrap := &bootstrapv3.Bootstrap{}
	if args := PodIPArgs(proxy); args != nil {
		if err := protojson.Unmarshal([]byte(args[1]), bootstrap); err != nil {
			t.Fatal(err)
		}
	}
	return bootstrap.GetStaticResources().GetClusters()
}

// TestPlainTextOnlyWhereAskedFor looks at the filter chains of each inbound port, in the order in which they are.
func TestPlainTextOnlyWhereAskedFor(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		listeners := map[string]*listenerv3.Listener{}
		for _, listener := range all[*listenerv3.Listener](t, name, proxy) {
			listeners[listener.GetName()] = listener
		}
		for _, in := range proxy.Inbound {
			listener := listeners[inboundListener(in)]
			var got []string
			for _, chain := range listener.GetFilterChains() {
				match := chain.GetFilterChainMatch()
				if len(match.GetSourcePrefixRanges()) > 0 {
					continue // readiness
				}
				got = append(got, fmt.Sprintf("%s TLS %t", match.GetTransportProtocol(), chain.GetTransportSocket() != nil))
			}
			want := map[ir.TLSMode][]string{
				ir.Mutual: {" TLS true"}, ir.Permissive: {"tls TLS true", "raw_buffer TLS false"}, ir.None: {" TLS false"},
			}[in.TLS]
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: chains %q, want %q", listener.GetName(), in.TLS, got, want)
			}
			if inspects := len(listener.GetListenerFilters()) > 0; inspects != (in.TLS == ir.Permissive) {
				t.Errorf("%s, %s: looks for TLS %t", listener.GetName(), in.TLS, inspects)
			}
			if listener.GetTrafficDirection() != corev3.TrafficDirection_INBOUND {
				t.Errorf("%s is %s", listener.GetName(), listener.GetTrafficDirection())
			}
		}
	})
}

// TestPeersAreCheckedByRequestToo compares what the filter of requests and the audit of connections accept with the
// peers.
func TestPeersAreCheckedByRequestToo(t *testing.T) {
	accepted := func(policy *rbacv3.Policy) []string {
		out := []string{}
		for _, principal := range policy.GetPrincipals() {
			if name := principal.GetAuthenticated().GetPrincipalName(); name != nil {
				out = append(out, spelling(name))
			} else if principal.GetAuthenticated() != nil {
				out = append(out, "anyone authenticated")
			} else if header := principal.GetNotId().GetHeader(); header.GetName() == xfccHeader && header.GetPresentMatch() {
				out = append(out, "nobody")
			}
		}
		return out
	}
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		proxy = withoutRefused(proxy)
		if proxy.HasRules() {
			return // TestRulesMeanWhatTheModelSays
		}
		filters := all[*httprbacv3.RBAC](t, name, proxy)
		if len(filters) != 1 {
			t.Fatalf("%d resources: a file takes exactly one", len(filters))
		}
		withToken := map[string]bool{} // those of TestTokensAreCheckedByRequest
		for _, in := range proxy.Inbound {
			withToken[inboundListener(in)] = !in.JWT.IsZero()
		}
		enforced, shadow := map[string][]string{}, map[string][]string{}
		for _, rules := range []struct {
			*rbacv3.RBAC
			into map[string][]string
		}{{filters[0].GetRules(), enforced}, {filters[0].GetShadowRules(), shadow}} {
			if rules.GetAction() != rbacv3.RBAC_ALLOW {
				t.Errorf("action %s", rules.GetAction())
			}
			for key, policy := range rules.GetPolicies() {
				port := policy.GetPermissions()[0].GetDestinationPort()
				if rules := policy.GetPermissions()[0].GetAndRules().GetRules(); len(rules) == 3 && rules[0].GetHeader().GetName() == xfccHeader {
					port = rules[2].GetDestinationPort()
				}
				if len(policy.GetPermissions()) != 1 || key != fmt.Sprintf("inbound_%d", port) {
					t.Errorf("policy %s is for %v", key, policy.GetPermissions())
				}
				if !withToken[key] {
					rules.into[key] = accepted(policy)
				}
			}
		}
		wantEnforced, wantShadow, wantTCP := map[string][]string{}, map[string][]string{}, map[string][]string{}
		for _, in := range proxy.Inbound {
			key := inboundListener(in)
			switch {
			case !in.Identifies() || in.Protocol == ir.TCP && !in.Audit || withToken[key]:
			case in.Protocol == ir.TCP:
				wantTCP[key] = spellings(in.Peers)
			case in.Audit:
				wantEnforced[key], wantShadow[key] = []string{"anyone authenticated"}, spellings(in.Peers)
			case in.Clients == ir.Request:
				wantEnforced[key] = append(spellings(in.Peers), "nobody")
			default:
				wantEnforced[key] = spellings(in.Peers)
			}
		}
		gotTCP := map[string][]string{}
		for _, audit := range all[*tcprbacv3.RBAC](t, name, proxy) {
			if audit.GetRules() != nil {
				t.Error("an audit of connections refuses some")
			}
			for key, policy := range audit.GetShadowRules().GetPolicies() {
				gotTCP[key] = accepted(policy)
			}
		}
		if diff := cmp.Diff([]map[string][]string{wantEnforced, wantShadow, wantTCP}, []map[string][]string{enforced, shadow, gotTCP}); diff != "" {
			t.Errorf("enforced, audited, audited TCP (-want +got):\n%s", diff)
		}
		// Every request of an authenticated caller passes the filter, and it is the first one.
		for _, manager := range all[*hcmv3.HttpConnectionManager](t, name, proxy) {
			mutual := manager.GetForwardClientCertDetails() != hcmv3.HttpConnectionManager_SANITIZE
			if withToken[strings.Replace(manager.GetStatPrefix(), "plain", "inbound", 1)] {
				continue
			}
			first := manager.GetHttpFilters()[0]
			if first.GetName() == "client" && manager.GetForwardClientCertDetails() == hcmv3.HttpConnectionManager_APPEND_FORWARD {
				first = manager.GetHttpFilters()[1]
			}
			if checked := first.GetName() == authorizationName && first.GetConfigDiscovery() != nil; checked != mutual {
				t.Errorf("%s: says who called %t, checks it %t", manager.GetStatPrefix(), mutual, checked)
			}
			if _, enforced := enforced[manager.GetStatPrefix()]; enforced != mutual {
				t.Errorf("%s: has rules %t, applies them %t", manager.GetStatPrefix(), enforced, mutual)
			}
		}
	})
}

// TestWhatAPodCanChange: the bootstrap file is read once, so what it says must not depend on what may change in a
// running pod; and it must depend on every port, because none can change there.
func TestWhatAPodCanChange(t *testing.T) {
	base := func() ir.Proxy {
		p := cases(t)["observed"]
		p.Upstreams = append(p.Upstreams, ir.Upstream{Listen: 8001, Address: address(t, "x:1"), Peers: peers(t, "/x")},
			ir.Upstream{Listen: 8002, Address: address(t, "y:1"), Peers: peers(t, "/y"), Protocol: ir.TCP})
		return p
	}
	bootstrap := func(p ir.Proxy) string {
		config, err := Generate(p)
		if err != nil {
			t.Fatal(err)
		}
		return config.Bootstrap
	}
	before := bootstrap(base())
	for name, test := range map[string]struct {
		change func(*ir.Proxy)
		same   bool
	}{
		"peers of callers":  {func(p *ir.Proxy) { p.Inbound[0].Peers = peers(t, "/*") }, true},
		"TLS of callers":    {func(p *ir.Proxy) { p.Inbound[0].TLS = ir.Permissive }, true},
		"no certificates":   {func(p *ir.Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = ir.NoRequest, nil }, true},
		"optional ones":     {func(p *ir.Proxy) { p.Inbound[0].Clients = ir.Request }, false},
		"forwarded":         {func(p *ir.Proxy) { p.Inbound[0].Forwarded = peers(t, "/x") }, true},
		"limits":            {func(p *ir.Proxy) { p.Inbound[0].Limits = ir.DefaultLimits(ir.Inbound{TLS: ir.None}) }, true},
		"audit":             {func(p *ir.Proxy) { p.Inbound[0].Audit = true }, true},
		"peers of upstream": {func(p *ir.Proxy) { p.Upstreams[1].Peers = peers(t, "/*") }, true},
		"address":           {func(p *ir.Proxy) { p.Upstreams[1].Address = address(t, "z:1") }, true},
		"life":              {func(p *ir.Proxy) { p.SVIDTTL = time.Minute }, true},
		"traces":            {func(p *ir.Proxy) { p.Tracing = ir.Tracing{Collector: address(t, "otel:4317")} }, true},
		"unbounded streams": {func(p *ir.Proxy) { p.UnboundedStreams = true }, true},
		"drain":             {func(p *ir.Proxy) { p.Drain = 0 }, true},
		"inbound port":      {func(p *ir.Proxy) { p.Inbound[0].Listen = 8444 }, false},
		"app's port":        {func(p *ir.Proxy) { p.Inbound[0].App = 8082 }, false},
		"upstream's port":   {func(p *ir.Proxy) { p.Upstreams[1].Listen = 8003 }, false},
		"one upstream more": {func(p *ir.Proxy) {
			p.Upstreams = append(p.Upstreams, ir.Upstream{Listen: 8003, Address: address(t, "z:1"), Peers: peers(t, "/z")})
		}, false},
		"one upstream less":  {func(p *ir.Proxy) { p.Upstreams = []ir.Upstream{p.Upstreams[0], p.Upstreams[2]} }, false},
		"TCP upstream's":     {func(p *ir.Proxy) { p.Upstreams[2].Listen = 8003 }, false},
		"another's protocol": {func(p *ir.Proxy) { p.Upstreams[1].Protocol = ir.TCP }, false},
		"Host":               {func(p *ir.Proxy) { p.Upstreams[1].Host = "x.org" }, true},
		"proxies before":     {func(p *ir.Proxy) { p.Inbound[0] = ir.Inbound{Listen: 8443, App: 8080, TLS: ir.None, TrustedProxies: 1} }, true},
		"identity":           {func(p *ir.Proxy) { p.ID = cases(t)["client"].ID }, false},
		"probes":             {func(p *ir.Proxy) { p.Probes = nil }, false},
		"metrics":            {func(p *ir.Proxy) { p.Metrics.Port = 15091 }, false},
		"memory limit":       {func(p *ir.Proxy) { p.MemoryLimit = 512 << 20 }, false},
	} {
		changed := base()
		test.change(&changed)
		if same := bootstrap(changed) == before; same != test.same {
			t.Errorf("%s: the bootstrap is the same: %t, want %t", name, same, test.same)
		}
	}
}

func TestArgs(t *testing.T) {
	want := []string{
		"--config-path", "/etc/envoy/bootstrap.yaml", "--log-level", "warning", "--concurrency", "1", "--disable-hot-restart",
		"--drain-time-s", "15", "--drain-strategy", "immediate", "--file-flush-interval-msec", "200",
		"--component-log-level", "main:error,misc:error",
	}
	if got := Args("warning", 0); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Args("info", 1); slices.Contains(got, "--component-log-level") {
		t.Errorf("whoever asks for more shall have it, got %q", got)
	}
}

// TestOnlyForwardedIsBelieved: a caller's own X-Forwarded-Client-Cert goes further on ports alone whose requests are
// held against the clients that may be in it.
func TestOnlyForwardedIsBelieved(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		forwards := map[string]bool{}
		for _, in := range proxy.Inbound {
			forwards[inboundListener(in)] = len(in.Forwarded) > 0
		}
		for _, manager := range all[*hcmv3.HttpConnectionManager](t, name, proxy) {
			appends := manager.GetForwardClientCertDetails() == hcmv3.HttpConnectionManager_APPEND_FORWARD
			if other := !appends && manager.GetForwardClientCertDetails() > hcmv3.HttpConnectionManager_SANITIZE_SET; other || appends && !forwards[manager.GetStatPrefix()] {
				t.Errorf("%s: %s", manager.GetStatPrefix(), manager.GetForwardClientCertDetails())
			}
			delete(forwards, manager.GetStatPrefix())
		}
		for key, policy := range all[*httprbacv3.RBAC](t, name, proxy)[0].GetRules().GetPolicies() {
			checked := policy.GetPermissions()[0].GetAndRules() != nil
			for _, in := range proxy.Inbound {
				if inboundListener(in) == key && checked != (len(in.Forwarded) > 0) {
					t.Errorf("%s: clients are held against a list: %t, want %t", key, checked, len(in.Forwarded) > 0)
				}
			}
		}
	})
}
