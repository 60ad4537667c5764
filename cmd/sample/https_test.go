package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

// events is the log of a server, which is written while it is read.
type events struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (e *events) Write(line []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(line)
}

// await returns the first event of a message that comes.
func (e *events) await(t *testing.T, message string) map[string]string {
	t.Helper()
	for range 200 {
		e.mu.Lock()
		text := e.text.String()
		e.mu.Unlock()
		for line := range strings.Lines(text) {
			event := map[string]string{}
			if json.Unmarshal([]byte(line), &event) == nil && event["msg"] == message {
				return event
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("no event %q in time in\n%s", message, e.text.String())
	return nil
}

const (
	serverID = "spiffe://example.org/https-server"
	clientID = "spiffe://example.org/https-client"
)

// startHTTPSServer serves clientID, and returns its address and its log.
func startHTTPSServer(t *testing.T, domain *trustDomain) (address string, log *events) {
	t.Helper()
	log = &events{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{
			"https-server", "--socket", domain.agent(t, "/https-server"), "--listen", "127.0.0.1:0", "--mtls", clientID, "--audience", "myapp",
		}, log, io.Discard)
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("the server ended with %d, expected 0", code)
		}
	})
	return log.await(t, "listening")["address"], log
}

func TestHTTPSBothWays(t *testing.T) {
	t.Parallel()
	domain := newTrustDomain(t)
	address, log := startHTTPSServer(t, domain)
	got := runCommand(t.Context(), "https-client", address, "--socket", domain.agent(t, "/https-client"), "--peer", serverID, "--audience", "myapp")
	want := "Login successful!\nmTLS: " + clientID + "\nJWT: " + clientID + " for myapp\nAnswered by: " + serverID + " for " + clientID + "\n"
	if got.code != exitOK || got.stdout != want {
		t.Errorf("expected %q, got %+v", want, got)
	}
	if called := log.await(t, "called"); called["peer"] != clientID || called["jwt"] != clientID {
		t.Errorf("expected a line on the call of %s, got %v", clientID, called)
	}
}

func TestHTTPSRefusals(t *testing.T) {
	t.Parallel()
	domain := newTrustDomain(t)
	for _, test := range []struct {
		name, client string
		arguments    []string
		stderr       string // of the client
		event        string // of the server, if it is told
		reason       string
	}{
		{"a client that is not let in", "/spiffe-client", []string{"--peer", serverID}, "bad certificate", "handshake refused", `unexpected ID "spiffe://example.org/spiffe-client"`},
		{"a server that is not the one meant", "/https-client", []string{"--peer", clientID}, `unexpected ID "` + serverID + `"`, "handshake refused", "bad certificate"},
		{"a token for somebody else", "/https-client", []string{"--peer", serverID, "--audience", "other"}, "got 401", "refused", `expected audience in ["myapp"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, log := startHTTPSServer(t, domain)
			arguments := append([]string{"https-client", address, "--socket", domain.agent(t, test.client)}, test.arguments...)
			if got := runCommand(t.Context(), arguments...); got.code != exitFailed || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("expected exit code 1 and %q, got %+v", test.stderr, got)
			}
			if event := log.await(t, test.event); !strings.Contains(event["reason"], test.reason) {
				t.Errorf("expected the server to say %q, got %v", test.reason, event)
			}
		})
	}
}

// TestHTTPSServerWantsTheCallersOwnToken: whoever was shown a token can show it to others.
func TestHTTPSServerWantsTheCallersOwnToken(t *testing.T) {
	t.Parallel()
	domain := newTrustDomain(t)
	address, _ := startHTTPSServer(t, domain)
	self, err := newIdentity(t.Context(), domain.agent(t, "/https-client"))
	if err != nil {
		t.Fatal(err)
	}
	defer self.close()
	config := tlsconfig.MTLSClientConfig(self.x509, self.x509, tlsconfig.AuthorizeID(spiffeid.RequireFromString(serverID)))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	other := newTrustDomain(t)
	for _, test := range []struct{ name, authorization, want string }{
		{"none", "", "found none"},
		{"another's", "Bearer " + domain.token(t, "spiffe://example.org/other", []string{"myapp"}), "expected a JWT-SVID of " + clientID},
		{"of another key", "Bearer " + other.token(t, clientID, []string{"myapp"}), "error in cryptographic primitive"},
	} {
		request, err := http.NewRequest("GET", "https://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", test.authorization)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), test.want) {
			t.Errorf("%s: expected 401 and %q, got %s %q (%v)", test.name, test.want, response.Status, body, err)
		}
		_ = response.Body.Close()
	}
}

// TestHTTPSClientWantsTheServersOwnToken: the answer's token is worth as much as the request's.
func TestHTTPSClientWantsTheServersOwnToken(t *testing.T) {
	t.Parallel()
	domain := newTrustDomain(t)
	self, err := newIdentity(t.Context(), domain.agent(t, "/https-server"))
	if err != nil {
		t.Fatal(err)
	}
	defer self.close()
	for _, test := range []struct{ name, token, want string }{
		{"none", "", "the answer's header X-JWT-SVID: "},
		{"another's", domain.token(t, "spiffe://example.org/other", []string{clientID}), "expected a JWT-SVID of " + serverID},
		{"for somebody else", domain.token(t, serverID, []string{"other"}), "expected audience in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(serverSVIDHeader, test.token) }))
			go server.Serve(tls.NewListener(listener, tlsconfig.MTLSServerConfig(self.x509, self.x509, tlsconfig.AuthorizeAny())))
			defer server.Close()
			got := runCommand(t.Context(), "https-client", listener.Addr().String(), "--socket", domain.agent(t, "/https-client"), "--peer", serverID)
			if got.code != exitFailed || !strings.Contains(got.stderr, test.want) {
				t.Errorf("expected exit code 1 and %q, got %+v", test.want, got)
			}
		})
	}
}
