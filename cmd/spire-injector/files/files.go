package files

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"golang.org/x/sync/errgroup"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
)

// Config is what Run is to do.
type Config struct {
	WorkloadAPI string // the agent's address, such as unix:///run/spire/sockets/agent.sock
	ID          spiffeid.ID
	Dir         string // where the files are to be
	Tokens      []Token
	Notice      Notice // of changed certificates, key or bundles that verify certificates
	Log         *slog.Logger
}

// Token is a JWT-SVID that is kept in a file.
type Token struct{ File, Audience string }

// Run works until the context ends. It writes nothing before it has everything. An error is about this machine, not
// about the agent, for which it waits.
func Run(ctx context.Context, c Config) error {
	client, err := agentapi.Dial(ctx, c.WorkloadAPI)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	v, err := openVolume(c.Dir)
	if err != nil {
		return err
	}
	w := newWatcher(c)
	all, ctx := errgroup.WithContext(ctx)
	watch := func(what string, run func(context.Context) error) {
		all.Go(func() error {
			if err := run(ctx); ctx.Err() == nil {
				return fmt.Errorf("watching %s: %w", what, err)
			}
			return nil
		})
	}
	watch("certificates", func(ctx context.Context) error { return client.WatchX509Context(ctx, w) })
	watch("JWT bundles", func(ctx context.Context) error { return client.WatchJWTBundles(ctx, w) })
	for _, token := range c.Tokens {
		all.Go(func() error {
			keepToken(ctx, token, w, func(ctx context.Context) (*jwtsvid.SVID, error) {
				return client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: token.Audience, Subject: c.ID})
			})
			return nil
		})
	}
	all.Go(func() error { return keepFiles(ctx, c, v, w) })
	return all.Wait()
}

// keepFiles writes what has come whenever it is something else than what is there.
func keepFiles(ctx context.Context, c Config, v *volume, w *watcher) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.changed:
		}
		next := w.contents()
		if next == nil || next.equal(v.current) {
			continue
		}
		// Nobody has read the first ones. An app that starts now may not know yet what to do with a signal.
		notify := c.Notice != Notice{} && len(v.current) > 0 && !sameCertificates(next, v.current)
		if err := v.replace(next); err != nil {
			return err
		}
		c.Log.Info("files written", "dir", c.Dir, "files", len(next), "expires", w.expiry())
		if !notify {
			continue
		}
		sent, err := c.Notice.send("/proc")
		if err != nil {
			c.Log.Error("not all are signalled", "process", c.Notice.Process, "error", err)
		}
		c.Log.Info("signalled", "process", c.Notice.Process, "processes", sent)
	}
}
