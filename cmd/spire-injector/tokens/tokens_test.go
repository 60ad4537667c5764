package tokens

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/templates"
)

// workloadAPI is a SPIRE agent's, which refuses until the registration entry has arrived.
type workloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	signs      authority
	bundle     []byte
	registered atomic.Bool
	hasKeys    atomic.Bool
}

func (w *workloadAPI) FetchJWTSVID(_ context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if !w.registered.Load() {
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	svid, err := w.signs.tokenFor(r.SpiffeId, r.Audience, time.Hour)
	if err != nil {
		return nil, err
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: r.SpiffeId, Svid: svid.Marshal()}}}, nil
}

func (w *workloadAPI) FetchJWTBundles(
	_ *workload.JWTBundlesRequest,
	stream workload.SpiffeWorkloadAPI_FetchJWTBundlesServer,
) error {
	if !w.registered.Load() || !w.hasKeys.Load() {
		return status.Error(codes.PermissionDenied, "no identity issued")
	}
	if err := stream.Send(&workload.JWTBundlesResponse{Bundles: map[string][]byte{domain.IDString(): w.bundle}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// The program waits for its entry, then serves keys and writes a token for each audience, and is ready when all are
// there.
func TestRun(t *testing.T) {
	t.Parallel()
	agent := &workloadAPI{signs: newAuthority(t, "first")}
	own, err := agent.signs.bundle(t).GetJWTBundleForTrustDomain(domain)
	if err != nil {
		t.Fatal(err)
	}
	if agent.bundle, err = own.Marshal(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, agent)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	dir := t.TempDir()
	socket := filepath.Join(dir, filepath.Base(templates.JWKSSocket))
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // what an earlier run left behind
		t.Fatal(err)
	}
	probe := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			WorkloadAPI:  "unix://" + listener.Addr().String(),
			ID:           spiffeid.RequireFromPath(domain, "/web"),
			Audiences:    []string{"a", "b"},
			Dir:          dir,
			ProbeAddress: probe,
			Log:          silent,
		})
	}()
	ready := func() int {
		response, err := http.Get("http://" + probe + templates.ReadinessPath)
		if err != nil {
			return 0
		}
		defer func() { _ = response.Body.Close() }()
		return response.StatusCode
	}
	eventually(t, 10*time.Second, "the probe answers", func() bool { return ready() != 0 })
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("before there is an entry: got %d", got)
	}
	agent.registered.Store(true)
	tokens := func() bool {
		return inFile(t, &source{file: filepath.Join(dir, templates.TokenFile("a"))}) != "" &&
			inFile(t, &source{file: filepath.Join(dir, templates.TokenFile("b"))}) != ""
	}
	eventually(t, 10*time.Second, "a token for each audience", tokens)
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("before there are keys: got %d", got)
	}
	agent.hasKeys.Store(true)
	eventually(t, 10*time.Second, "it is ready", func() bool { return ready() == http.StatusOK })
	if body := overSocket(t, socket, templates.JWKSPath(domain)); !strings.Contains(body, `"first"`) {
		t.Errorf("expected the key, got %s", body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// What is wrong with this machine ends the program.
func TestRunEndsWithError(t *testing.T) {
	t.Parallel()
	config := Config{
		WorkloadAPI: "unix:///nowhere.sock", ID: spiffeid.RequireFromPath(domain, "/web"), Dir: t.TempDir(), ProbeAddress: freeAddress(t), Log: silent,
	}
	for name, change := range map[string]func(*Config){
		"no address of an agent":          func(c *Config) { c.WorkloadAPI = "nowhere" },
		"no directory":                    func(c *Config) { c.Dir = filepath.Join(c.Dir, "missing") },
		"no directory to write tokens to": func(c *Config) { c.Dir, c.Audiences = filepath.Join(c.Dir, "missing"), []string{"a"} },
		"no address to listen at":         func(c *Config) { c.ProbeAddress = "nowhere" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config
			change(&c)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := Run(ctx, c); err == nil || ctx.Err() != nil {
				t.Errorf("expected an error, got %v, %v", err, ctx.Err())
			}
		})
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func overSocket(t *testing.T, socket, path string) string {
	t.Helper()
	client := http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}},
	}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://keys" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
