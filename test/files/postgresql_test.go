package files

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/standalone"
)

var domain = spiffeid.RequireTrustDomainFromString("example.org")

func TestMain(m *testing.M) {
	role := map[string]func(context.Context) error{rolePod: pod, roleKeeper: keeper}[os.Getenv(roleVariable)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// life is that of the database's certificates. SPIRE dates them back by 10 s, and renews them after half of the whole: 5 s
// after they were made.
const life = 20 * time.Second

// A database serves by certificates that are renewed four times, longer than the first of them is valid. Who connects
// meanwhile verifies it, and shows a certificate that it verifies; nobody is refused, and who stays connected loses
// nothing.
func TestPostgreSQLThroughRotations(t *testing.T) {
	t.Parallel()
	cache, err := parts.UserCache()
	must(t, err)
	programs, err := parts.Ensure(t.Context(), cache, parts.ForImages, os.Stderr)
	must(t, err)
	postgres, err := parts.EnsurePostgreSQL(t.Context(), cache, os.Stderr)
	must(t, err)
	dir, err := os.MkdirTemp("", "files-") // other users go through it, which they cannot in a test's own
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	server := startSPIRE(t, dir, programs)
	var ports standalone.Ports
	port, err := ports.Free(t.Context())
	must(t, err)
	startPod(t, dir, postgres.Tree, port)

	address := fmt.Sprintf("127.0.0.1:%d", port)
	config := clientConfig(t, server)
	var staying *connection
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if staying, err = connect(t.Context(), address, config); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the database does not answer: %v", err)
		}
	}

	const rotations = 4
	seen := map[string]bool{staying.peer: true}
	var mu sync.Mutex
	begin := time.Now()
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) > rotations && time.Since(begin) > life
	}
	counts := make([]int, 2)
	var clients sync.WaitGroup
	until := func(n int, once func() error) {
		clients.Go(func() {
			for end := begin.Add(2 * time.Minute); !enough() && !t.Failed(); counts[n]++ {
				if err := once(); err != nil {
					t.Errorf("after %s and %d times: %v", time.Since(begin).Round(time.Millisecond), counts[n], err)
				}
				if time.Now().After(end) {
					t.Errorf("expected %d certificates within two minutes", rotations+1)
				}
			}
		})
	}
	until(0, func() error {
		c, err := connect(t.Context(), address, config)
		if err != nil {
			return err
		}
		mu.Lock()
		seen[c.peer] = true
		mu.Unlock()
		if err := c.query("SELECT 1"); err != nil {
			return err
		}
		return c.tls.Close()
	})
	until(1, func() error {
		time.Sleep(20 * time.Millisecond)
		return staying.query("SELECT 1")
	})
	clients.Wait()
	t.Logf("%d connections and %d queries on one that stayed, through %d certificates in %.0f s",
		counts[0], counts[1], len(seen), time.Since(begin).Seconds())
	if _, err := connect(t.Context(), address, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a caller without a certificate was let in")
	}
}

// startSPIRE starts a server, and an agent that gives an identity to the database's user.
func startSPIRE(t *testing.T, dir string, programs parts.Programs) *standalone.Server {
	t.Helper()
	var ports standalone.Ports
	port, err := ports.Free(t.Context())
	must(t, err)
	server, err := standalone.StartServer(filepath.Join(dir, "server"), programs.SPIREServer,
		standalone.ServerConfig{Domain: domain.Name(), Port: port})
	must(t, err)
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, server.Wait(ctx))
	token, err := server.JoinToken(ctx)
	must(t, err)
	response, err := entryv1.NewEntryClient(server.API).BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{
		Entries: []*types.Entry{{
			SpiffeId:    &types.SPIFFEID{TrustDomain: domain.Name(), Path: "/db"},
			ParentId:    &types.SPIFFEID{TrustDomain: domain.Name(), Path: "/spire/agent/join_token/" + token},
			Selectors:   []*types.Selector{{Type: "unix", Value: fmt.Sprintf("uid:%d", nobody)}},
			X509SvidTtl: int32(life / time.Second),
		}},
	})
	must(t, err)
	if s := response.Results[0].Status; codes.Code(s.Code) != codes.OK {
		t.Fatal(s.Message)
	}
	agent, err := standalone.StartAgent(ctx, filepath.Join(dir, "agent"), programs.SPIREAgent, server,
		standalone.AgentConfig{Socket: filepath.Join(dir, "agent.sock"), JoinToken: token})
	must(t, err)
	t.Cleanup(agent.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("SPIRE agent:\n%s", agent.Out)
		}
	})
	return server
}

// startPod starts the database, and beside it what keeps its files.
func startPod(t *testing.T, dir, tree string, port uint16) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	text, err := os.ReadFile(program)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "keeper"), text, 0o755))
	for _, name := range []string{"postgresql", "volume", "data"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	must(t, os.Chmod(filepath.Join(dir, "volume"), 0o777))
	must(t, os.Chown(filepath.Join(dir, "data"), nobody, nobody))
	out := &command.Output{}
	cmd := exec.Command(filepath.Join(dir, "keeper"))
	cmd.Env = append(os.Environ(), environment(dir, tree, port)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all of its namespace
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("pod:\n%s", out)
		}
	})
}

// clientConfig is of a caller who accepts the database alone, and presents an SVID of its own.
func clientConfig(t *testing.T, server *standalone.Server) *tls.Config {
	t.Helper()
	certificate, err := server.Mint(t.Context(), "/web", time.Hour)
	must(t, err)
	roots, err := server.Roots(t.Context())
	must(t, err)
	bundle := x509bundle.FromX509Authorities(domain, roots)
	config := tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(spiffeid.RequireFromPath(domain, "/db")))
	config.Certificates = []tls.Certificate{certificate}
	return config
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
