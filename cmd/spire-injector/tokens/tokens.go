package tokens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
	"github.com/spire-injector/spire-injector/templates"
)

// Config is what Run is to do.
type Config struct {
	WorkloadAPI string // the agent's address, such as unix:///run/spire/sockets/agent.sock
	ID          spiffeid.ID
	Audiences   []string // may be empty
	Dir         string   // [templates.JWTDir]
	// ProbeAddress is where GET [templates.ReadinessPath] answers 200 once all tokens and keys have come, and 503 before.
	ProbeAddress string
	Log          *slog.Logger
}

// Run works until the context ends. An error is about this machine, not about the agent, for which it waits.
func Run(ctx context.Context, c Config) error {
	client, err := agentapi.Dial(ctx, c.WorkloadAPI)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	k, err := newKeys(c.ID.TrustDomain(), c.Log)
	if err != nil {
		return err
	}
	sources, err := newSources(c, client, k)
	if err != nil {
		return err
	}
	ready := func() bool {
		return k.has() && !slices.ContainsFunc(sources, func(s *source) bool { return !s.everHad.Load() })
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return serveKeys(ctx, filepath.Join(c.Dir, filepath.Base(templates.JWKSSocket)), k) })
	all.Go(func() error { return serveProbes(ctx, c.ProbeAddress, ready) })
	all.Go(func() error {
		if err := client.WatchJWTBundles(ctx, k); ctx.Err() == nil {
			return fmt.Errorf("watching the JWT bundles: %w", err)
		}
		return nil
	})
	for _, s := range sources {
		all.Go(func() error { return s.run(ctx) })
	}
	return all.Wait()
}

// newSources makes a source for each audience, each with its file.
func newSources(c Config, client *workloadapi.Client, k *keys) ([]*source, error) {
	out := make([]*source, len(c.Audiences))
	for i, audience := range c.Audiences {
		out[i] = &source{
			file: filepath.Join(c.Dir, templates.TokenFile(audience)),
			keys: k,
			log:  c.Log.With("audience", audience),
			fetch: func(ctx context.Context) (*jwtsvid.SVID, error) {
				return client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience, Subject: c.ID})
			},
		}
		if err := out[i].start(time.Now()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var _ workloadapi.JWTBundleWatcher = (*keys)(nil)

// OnJWTBundlesUpdate implements [workloadapi.JWTBundleWatcher].
func (k *keys) OnJWTBundlesUpdate(bundles *jwtbundle.Set) { k.set(bundles) }

// OnJWTBundlesWatchError implements [workloadapi.JWTBundleWatcher].
func (k *keys) OnJWTBundlesWatchError(err error) {
	if status.Code(err) != codes.Canceled {
		k.log.Warn("the keys cannot be watched, those that are there stay", "error", err)
	}
}

func serveKeys(ctx context.Context, socket string, k *keys) error {
	// One that an earlier run left behind cannot be listened on.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return serve(ctx, "unix", socket, k)
}

func serveProbes(ctx context.Context, address string, ready func() bool) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+templates.ReadinessPath, func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "tokens or keys have not come yet", http.StatusServiceUnavailable)
		}
	})
	return serve(ctx, "tcp", address, mux)
}

func serve(ctx context.Context, network, address string, handler http.Handler) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving at %s: %w", address, err)
	}
	return nil
}
