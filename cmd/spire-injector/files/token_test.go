package files

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
)

func mustPKCS8(t *testing.T, a *agent) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSVID(t *testing.T, a *agent) *x509svid.SVID {
	t.Helper()
	svid, err := x509svid.ParseRaw(a.sign(t, &x509.Certificate{URIs: []*url.URL{db.URL()}}, time.Hour).Raw, mustPKCS8(t, a))
	if err != nil {
		t.Fatal(err)
	}
	return svid
}

// A token is renewed at half of its lifetime, and asked for again, less and less often, while there is no other.
func TestKeepToken(t *testing.T) {
	a := newAgent(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(Config{ID: db, Log: silent, Tokens: []Token{{"a.jwt", "a"}}})
		var asked []time.Time
		renewed := time.Now()
		away := false
		ctx, cancel := context.WithCancel(t.Context())
		go keepToken(ctx, Token{"a.jwt", "a"}, w, func(context.Context) (*jwtsvid.SVID, error) {
			asked = append(asked, time.Now())
			if away {
				return nil, errors.New("away")
			}
			if time.Since(renewed) >= 31*time.Minute { // later than this program asks
				renewed = time.Now()
			}
			text, err := a.token(db.String(), []string{"a"}, renewed)
			if err != nil {
				return nil, err
			}
			return jwtsvid.ParseInsecure(text, []string{"a"})
		})
		synctest.Wait()
		first := string(w.byFile["a.jwt"])
		time.Sleep(30*time.Minute - time.Second)
		if len(asked) != 1 || first == "" {
			t.Errorf("expected to have asked once, got %v", asked)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(asked) < 10 || len(asked) > 25 || string(w.byFile["a.jwt"]) == first {
			t.Errorf("expected to ask until there is another token, got %d times", len(asked))
		}
		away, asked = true, nil
		time.Sleep(31 * time.Minute)
		second := string(w.byFile["a.jwt"])
		if len(asked) < 5 || second == "" {
			t.Errorf("without an agent: asked %d times", len(asked))
		}
		away = false
		time.Sleep(agentapi.LongestRetry)
		synctest.Wait()
		if string(w.byFile["a.jwt"]) == second {
			t.Error("the agent is back, and there is no new token")
		}
		cancel()
		synctest.Wait()
	})
}
