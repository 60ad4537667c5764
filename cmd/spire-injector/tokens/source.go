package tokens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/spire-injector/spire-injector/templates"
)

// keeper keeps the token for one audience in its file, from which Envoy takes it.
type keeper struct {
	file    string
	fetch   func(context.Context) (*jwtsvid.SVID, error)
	keys    *keys
	log     *slog.Logger
	everHad atomic.Bool

	current token // the zero value is none
}

// token is what is to be known of one.
type token struct {
	text, keyID    string
	issued, expiry time.Time
}

// start takes up the token that an earlier run left behind, or writes the file without one: Envoy does not start without it.
func (k *keeper) start(now time.Time) error {
	content, err := os.ReadFile(k.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text, err := templates.TokenOf(string(content)); err == nil && text != "" {
		if svid, err := jwtsvid.ParseInsecure(text, nil); err == nil {
			if left := newToken(svid, now); now.Before(left.end()) {
				k.current = left
				k.everHad.Store(true)
				return nil
			}
		}
	}
	return k.write(token{})
}

// keep works until the context ends. An error is one of writing the file.
func (k *keeper) keep(ctx context.Context) error {
	failures := 0
	for {
		changed := k.keys.change()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(k.due(failures))):
		case <-changed:
			if !k.keys.withdrawn(k.current.keyID) {
				continue
			}
			// Nobody accepts what was signed with a key that is gone.
		}
		if k.current.text != "" && !time.Now().Before(k.current.end()) {
			k.log.Error("the token expires and could not be renewed: requests are refused until there is another one")
			if err := k.write(token{}); err != nil {
				return err
			}
		}
		ok, err := k.renew(ctx)
		if err != nil {
			return err
		}
		if failures++; ok {
			failures = 0
		}
	}
}

// due is when to do something next: to renew the token, or to take it away when it cannot be renewed.
func (k *keeper) due(failures int) time.Time {
	now := time.Now()
	if failures == 0 {
		if k.current.text == "" {
			return now
		}
		return k.current.half()
	}
	again := now.Add(min(retry<<min(failures-1, 10), longestRetry))
	if end := k.current.end(); k.current.text != "" && end.Before(again) {
		return end
	}
	return again
}

// renew fetches another token. It is false when there is none that is better than the current one. An error is one of writing
// the file.
func (k *keeper) renew(ctx context.Context) (ok bool, err error) {
	within, cancel := context.WithTimeout(ctx, k.patience())
	defer cancel()
	svid, unfetched := k.fetch(within)
	if unfetched != nil {
		if ctx.Err() == nil {
			k.log.Warn("no new token", "error", unfetched)
		}
		return false, nil
	}
	now := time.Now()
	next := newToken(svid, now)
	switch {
	case next.text == k.current.text:
		return false, nil // the agent has the same one in its cache
	case !now.Before(next.end()):
		k.log.Warn("no new token: the agent gave one that has expired")
		return false, nil
	}
	if err := k.write(next); err != nil {
		return false, err
	}
	k.everHad.Store(true)
	k.log.Info("new token", "expires", next.expiry)
	return !k.keys.withdrawn(next.keyID), nil
}

// patience is how long to wait for the agent: no longer than the current token lasts.
func (k *keeper) patience() time.Duration {
	if k.current.text == "" {
		return fetchTimeout
	}
	return max(min(fetchTimeout, time.Until(k.current.end())), time.Millisecond)
}

// write replaces the file at once for whoever reads it.
func (k *keeper) write(t token) error {
	content, err := templates.TokenSecret(t.text, t.end())
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.file+".new", []byte(content), 0o600); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	if err := os.Rename(k.file+".new", k.file); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	k.current = t
	return nil
}

func newToken(svid *jwtsvid.SVID, now time.Time) token {
	t := token{text: svid.Marshal(), issued: now, expiry: svid.Expiry}
	if at, ok := svid.Claims["iat"].(float64); ok {
		t.issued = time.Unix(int64(at), 0)
	}
	// go-spiffe has parsed it by these algorithms already, of which only the header is of interest.
	if parsed, err := jwt.ParseSigned(t.text, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512,
	}); err == nil && len(parsed.Headers) > 0 {
		t.keyID = parsed.Headers[0].KeyID
	}
	return t
}

// half is when to renew it.
func (t token) half() time.Time { return t.issued.Add(t.expiry.Sub(t.issued) / 2) }

// end is from when on it is not sent any more: early enough for a request that is under way.
func (t token) end() time.Time { return t.expiry.Add(-time.Second) }
