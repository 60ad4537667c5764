package conformance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	localauthorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/tokens"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// tokenLife is that of JWT-SVIDs here, so that several come and go within a test.
const tokenLife = 10 * time.Second

// TestTokensOfSPIRE: real tokens and keys, from the program beside Envoy. Keys are rotated and the old one revoked
// under traffic of which nothing is lost; while the agent does not answer, no expired token is sent; and all recovers
// by itself.
func TestTokensOfSPIRE(t *testing.T) {
	t.Parallel()
	s, err := startSPIRE(t.Context(), t.TempDir(), programs)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.output())
		}
		s.stop()
	})
	must(t, err)
	verifying, sending := s.startTokens(t, "/api"), s.startTokens(t, "/caller", own("/api"))

	app, listen, upstream := startApp(t), port(t), port(t)
	api := s.startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{{
		Listen: listen, App: app.port, Peers: peers(t, "/caller"),
		JWT: ir.JWT{Audiences: []string{own("/api")}, Subjects: peers(t, "/caller", partner("/*"))},
	}}}, verifying)
	s.startProxy(t, "/caller", ir.Proxy{Upstreams: []ir.Upstream{{
		Listen: upstream, Address: address(t, listen), Peers: peers(t, "/api"), JWTAudience: own("/api"),
	}}}, sending)
	url := httpURL(upstream, "/")
	status, body := answer(t, http.DefaultClient, url, "")
	var got seen
	if status == 200 {
		must(t, json.Unmarshal([]byte(body), &got))
	}
	if subject := got.Header.Get(templates.JWTSubjectHeader); status != 200 || subject != own("/caller") || got.Header.Get("Authorization") != "" {
		t.Fatalf("got %d, and the app saw subject %q: %s", status, subject, body)
	}

	// A partner's token, made by its server; its keys come by federation.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{s.own.svid(t, "/caller")}, InsecureSkipVerify: true,
	}}}
	direct := fmt.Sprintf("https://127.0.0.1:%d/", listen)
	if status, body := answer(t, client, direct, s.partner.token(t, "/web", own("/api"))); status != 200 {
		t.Errorf("a token of the partner: got %d %q", status, body)
	}
	if status, body := answer(t, client, direct, s.own.token(t, "/other", own("/api"))); status != 403 {
		t.Errorf("a token of another subject: got %d %q", status, body)
	}

	// Traffic from here on.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent atomic.Int64
	failures := make(chan string, 1)
	traffic := make(chan struct{})
	go func() {
		defer close(traffic)
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			if status, body := answer(t, http.DefaultClient, url, ""); status != 200 {
				select {
				case failures <- fmt.Sprintf("request %d: got %d %q", sent.Load(), status, body):
				default:
				}
			}
			sent.Add(1)
		}
	}()
	authorities := localauthorityv1.NewLocalAuthorityClient(s.own.API)
	state, err := authorities.GetJWTAuthorityState(t.Context(), &localauthorityv1.GetJWTAuthorityStateRequest{})
	must(t, err)
	old := state.Active.AuthorityId
	prepared, err := authorities.PrepareJWTAuthority(t.Context(), &localauthorityv1.PrepareJWTAuthorityRequest{})
	must(t, err)
	next := prepared.PreparedAuthority.AuthorityId
	eventually(t, "the new key beside the server's Envoy", func() error { return hasKey(verifying, next) })
	time.Sleep(2 * time.Second) // Envoy asks once a second
	_, err = authorities.ActivateJWTAuthority(t.Context(), &localauthorityv1.ActivateJWTAuthorityRequest{AuthorityId: next})
	must(t, err)
	time.Sleep(tokenLife) // two renewals
	_, err = authorities.TaintJWTAuthority(t.Context(), &localauthorityv1.TaintJWTAuthorityRequest{AuthorityId: old})
	must(t, err)
	_, err = authorities.RevokeJWTAuthority(t.Context(), &localauthorityv1.RevokeJWTAuthorityRequest{AuthorityId: old})
	must(t, err)
	eventually(t, "the end of the old key", func() error {
		if hasKey(verifying, old) == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	stop()
	<-traffic
	select {
	case failure := <-failures:
		t.Errorf("of %d requests some were lost, the first one: %s", sent.Load(), failure)
	default:
		t.Logf("%d requests, none lost", sent.Load())
	}

	// The agent hangs.
	must(t, s.agent.Signal(syscall.SIGSTOP))
	const refused = "Failed to inject credential."
	eventually(t, "the refusal by the own Envoy", func() error {
		switch status, body := answer(t, http.DefaultClient, url, ""); {
		case status == 401 && body == refused:
			return nil
		case status != 200:
			t.Fatalf("got %d %q, want 200 while the token lasts and then 401 %q", status, body, refused)
		}
		return errors.New("got 200")
	})
	must(t, s.agent.Signal(syscall.SIGCONT))
	eventually(t, "recovery", func() error {
		if status, body := answer(t, http.DefaultClient, url, ""); status != 200 {
			return fmt.Errorf("got %d %q", status, body)
		}
		return nil
	})
	if log := api.Out.String(); strings.Contains(log, "expired") {
		t.Errorf("an expired token was sent:\n%s", log)
	}
}

// startTokens returns the directory of the program beside an Envoy when it is ready.
func (s *spire) startTokens(t *testing.T, path string, audiences ...string) string {
	t.Helper()
	dir, probe := t.TempDir(), port(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- tokens.Run(ctx, tokens.Config{
			WorkloadAPI: "unix://" + s.socket, ID: spiffeid.RequireFromPath(s.own.Domain, path), Audiences: audiences, Dir: dir,
			ProbeAddress: local(probe), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("tokens of %s: %v", path, err)
		}
	})
	eventually(t, "tokens and keys of "+path, func() error {
		response, err := http.Get(httpURL(probe, templates.ReadinessPath))
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	return dir
}

// hasKey looks for a key of our trust domain where Envoy would.
func hasKey(dir, keyID string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, filepath.Base(templates.JWKSSocket)))
	}}}
	response, err := client.Get("http://keys" + templates.JWKSPath(shared.own.Domain))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && !strings.Contains(string(body), keyID) {
		err = fmt.Errorf("no key %s in %s", keyID, body)
	}
	return err
}

// token is one that the server makes for whoever asks on its private socket.
func (s *server) token(t *testing.T, path, audience string) string {
	t.Helper()
	response, err := svidv1.NewSVIDClient(s.API).MintJWTSVID(t.Context(), &svidv1.MintJWTSVIDRequest{
		Id: &types.SPIFFEID{TrustDomain: s.Domain.Name(), Path: path}, Audience: []string{audience},
	})
	must(t, err)
	return response.Svid.Token
}

// answer is the status and body of a request with a token, which may be empty; 0 and the error when there is none.
func answer(t *testing.T, client *http.Client, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}
