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

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
	"github.com/spire-injector/spire-injector/templates"
)

// source has the token for one audience in its file, from which Envoy takes it.
type source struct {
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

// start takes up the token that an earlier run left behind, or writes the file without one: Envoy does not start
// without it.
func (s *source) start(now time.Time) error {
	content, err := os.ReadFile(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text, err := templates.TokenOf(string(content)); err == nil && text != "" {
		if svid, err := jwtsvid.ParseInsecure(text, nil); err == nil {
			if left := newToken(svid, now); now.Before(left.end()) {
				s.current = left
				s.everHad.Store(true)
				return nil
			}
		}
	}
	return s.write(token{})
}

// run works until the context ends. An error is one of writing the file.
func (s *source) run(ctx context.Context) error {
	failures := 0
	for {
		changed := s.keys.change()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(s.due(failures))):
		case <-changed:
			if !s.keys.withdrawn(s.current.keyID) {
				continue
			}
			// Nobody accepts what was signed with a key that is gone.
		}
		if s.current.text != "" && !time.Now().Before(s.current.end()) {
			s.log.Error("the token expires and could not be renewed: requests are refused until there is another one")
			if err := s.write(token{}); err != nil {
				return err
			}
		}
		ok, err := s.renew(ctx)
		if err != nil {
			return err
		}
		if failures++; ok {
			failures = 0
		}
	}
}

// due is when to do something next: to renew the token, or to take it away when it cannot be renewed.
func (s *source) due(failures int) time.Time {
	now := time.Now()
	if failures == 0 {
		if s.current.text == "" {
			return now
		}
		return s.current.half()
	}
	again := now.Add(agentapi.RetryAfter(failures - 1))
	if end := s.current.end(); s.current.text != "" && end.Before(again) {
		return end
	}
	return again
}

// renew fetches another token. It is false when there is none that is better than the current one. An error is one of
// writing the file.
func (s *source) renew(ctx context.Context) (ok bool, err error) {
	within, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	svid, unfetched := s.fetch(within)
	if unfetched != nil {
		if ctx.Err() == nil {
			s.log.Warn("no new token", "error", unfetched)
		}
		return false, nil
	}
	now := time.Now()
	next := newToken(svid, now)
	switch {
	case next.text == s.current.text:
		return false, nil // the agent has the same one in its cache
	case !now.Before(next.end()):
		s.log.Warn("no new token: the agent gave one that has expired")
		return false, nil
	}
	if err := s.write(next); err != nil {
		return false, err
	}
	s.everHad.Store(true)
	s.log.Info("new token", "expires", next.expiry)
	return !s.keys.withdrawn(next.keyID), nil
}

// patience is how long to wait for the agent: no longer than the current token lasts.
func (s *source) patience() time.Duration {
	if s.current.text == "" {
		return agentapi.FetchTimeout
	}
	return max(min(agentapi.FetchTimeout, time.Until(s.current.end())), time.Millisecond)
}

// write replaces the file at once for whoever reads it.
func (s *source) write(t token) error {
	content, err := templates.TokenSecret(t.text, t.end())
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", []byte(content), 0o600); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		return fmt.Errorf("writing a token: %w", err)
	}
	s.current = t
	return nil
}

func newToken(svid *jwtsvid.SVID, now time.Time) token {
	t := token{text: svid.Marshal(), issued: agentapi.IssuedAt(svid, now), expiry: svid.Expiry}
	// go-spiffe has parsed it by these algorithms already, of which only the header is of interest.
	if parsed, err := jwt.ParseSigned(t.text, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512,
	}); err == nil && len(parsed.Headers) > 0 {
		t.keyID = parsed.Headers[0].KeyID
	}
	return t
}

// half is when to renew it.
func (t token) half() time.Time { return agentapi.Half(t.issued, t.expiry) }

// end is from when on it is not sent any more: early enough for a request that is under way.
func (t token) end() time.Time { return t.expiry.Add(-time.Second) }
