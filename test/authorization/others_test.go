package authorization

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/debug/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	localauthorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"
	loggerv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/logger/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Everybody but the injector may call what SPIRE's own policy lets them call, and nothing else. Every method of the
// server is tried, with an empty request, by every kind of caller.
func TestOthersAreAsWithoutThePolicy(t *testing.T) {
	t.Parallel()
	without, with := map[string][]string{}, map[string][]string{}
	var wait sync.WaitGroup
	for s, allowed := range map[server]map[string][]string{plain(t): without, narrowed(t, nil): with} {
		callers := everyCaller(t, s)
		wait.Go(func() { maps.Copy(allowed, allowedTo(t, callers)) })
	}
	wait.Wait()
	if diff := cmp.Diff(without, with); diff != "" {
		t.Errorf("who may call what, without (-) and with (+) the policy:\n%s", diff)
	}
	for caller, least := range map[string]int{"local": 45, "admin by configuration": 40, "admin by entry": 40, "downstream": 4, "agent": 8, "workload": 2, "nobody": 2} {
		if got := len(without[caller]); got < least {
			t.Errorf("%s: expected at least %d methods, or this test tests nothing, got %d: %v", caller, least, got, without[caller])
		}
	}
}

// everyCaller makes the kinds of callers that a server can tell apart, the injector excepted.
func everyCaller(t *testing.T, s server) map[string]*grpc.ClientConn {
	t.Helper()
	parent := &types.SPIFFEID{TrustDomain: domain, Path: "/spire/server"}
	for path, entry := range map[string]*types.Entry{
		"/admin-by-entry": {Admin: true}, "/downstream": {Downstream: true}, "/workload": {},
	} {
		entry.SpiffeId, entry.ParentId = &types.SPIFFEID{TrustDomain: domain, Path: path}, parent
		entry.Selectors = []*types.Selector{{Type: "x", Value: path}}
		must(t, create(t.Context(), s.API, entry))
	}
	time.Sleep(2 * time.Second) // until the server's cache has the entries
	return map[string]*grpc.ClientConn{
		"local":                  s.API,
		"admin by configuration": s.as(t, adminPath),
		"admin by entry":         s.as(t, "/admin-by-entry"),
		"downstream":             s.as(t, "/downstream"),
		"workload":               s.as(t, "/workload"),
		"agent":                  s.showing(t, attest(t, s)),
		"nobody":                 s.showing(t),
	}
}

// attest makes this process an agent of the server.
func attest(t *testing.T, s server) tls.Certificate {
	t.Helper()
	token, err := s.JoinToken(t.Context())
	must(t, err)
	key, csr := certificateRequest(t)
	stream, err := agentv1.NewAgentClient(s.showing(t)).AttestAgent(t.Context())
	must(t, err)
	must(t, stream.Send(&agentv1.AttestAgentRequest{Step: &agentv1.AttestAgentRequest_Params_{Params: &agentv1.AttestAgentRequest_Params{
		Data: &types.AttestationData{Type: "join_token", Payload: []byte(token)}, Params: &agentv1.AgentX509SVIDParams{Csr: csr},
	}}}))
	response, err := stream.Recv()
	must(t, err)
	return tls.Certificate{Certificate: response.GetResult().GetSvid().GetCertChain(), PrivateKey: key}
}

func certificateRequest(t *testing.T, ids ...*url.URL) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: ids}, key)
	must(t, err)
	return key, csr
}

// allowedTo lists the methods that each caller may call.
func allowedTo(t *testing.T, callers map[string]*grpc.ClientConn) map[string][]string {
	var mu sync.Mutex
	all := map[string][]string{}
	var wait sync.WaitGroup
	for name, conn := range callers {
		wait.Go(func() {
			var own []string
			for _, method := range methods() {
				err := attempt(t.Context(), conn, method)
				if status.Code(err) == codes.Unavailable {
					t.Errorf("%s %s: %v", name, method.FullName(), err)
				}
				if reached(err) {
					own = append(own, string(method.FullName()))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all[name] = own
		})
	}
	wait.Wait()
	return all
}

// methods are those of all services of a SPIRE server.
func methods() []protoreflect.MethodDescriptor {
	var out []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		agentv1.File_spire_api_server_agent_v1_agent_proto,
		bundlev1.File_spire_api_server_bundle_v1_bundle_proto,
		debugv1.File_spire_api_server_debug_v1_debug_proto,
		entryv1.File_spire_api_server_entry_v1_entry_proto,
		healthv1.File_grpc_health_v1_health_proto,
		localauthorityv1.File_spire_api_server_localauthority_v1_localauthority_proto,
		loggerv1.File_spire_api_server_logger_v1_logger_proto,
		svidv1.File_spire_api_server_svid_v1_svid_proto,
		trustdomainv1.File_spire_api_server_trustdomain_v1_trustdomain_proto,
	} {
		for service := range file.Services().Len() {
			list := file.Services().Get(service).Methods()
			for i := range list.Len() {
				out = append(out, list.Get(i))
			}
		}
	}
	slices.SortFunc(out, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return out
}

// attempt calls a method with an empty request, which is the same for all types: no bytes.
func attempt(ctx context.Context, conn *grpc.ClientConn, method protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // Health.Watch may have nothing to say, ever
	defer cancel()
	name := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	if !method.IsStreamingClient() && !method.IsStreamingServer() {
		return conn.Invoke(ctx, name, &emptypb.Empty{}, &emptypb.Empty{})
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, name)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		return stream.RecvMsg(&emptypb.Empty{}) // tells why
	}
	return stream.RecvMsg(&emptypb.Empty{})
}

// reached says whether the server has the method, and lets the caller call it.
func reached(err error) bool { return !denied(err) && status.Code(err) != codes.Unimplemented }

// denied says whether it is the policy that stands in the way.
func denied(err error) bool {
	return status.Code(err) == codes.PermissionDenied && strings.Contains(status.Convert(err).Message(), "authorization denied for method")
}
