package envoy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

const audience = "spiffe://example.org/api"

// ask sends a request with a token, which may be empty.
func ask(t *testing.T, client *http.Client, url, token string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response, string(body)
}

// jwtProxy has a port of each TLS mode that asks for a token of /web, of what is below /ns/prod, or of auxiliary.org,
// and one that asks for none.
func jwtProxy(t *testing.T, a *agent) ir.Proxy {
	t.Helper()
	p := apiProxy(t, a, "/web")
	p.Inbound[0].JWT = ir.JWT{Audiences: []string{audience, "other"}, Subjects: peers(t, "/web", "/ns/prod/*", "spiffe://auxiliary.org/*")}
	permissive, none, without := p.Inbound[0], p.Inbound[0], p.Inbound[0]
	permissive.Listen, permissive.TLS = freePort(t), ir.Permissive
	none.Listen, none.TLS, none.Peers = freePort(t), ir.None, nil
	without.Listen, without.JWT = freePort(t), ir.JWT{}
	p.Inbound = append(p.Inbound, permissive, none, without)
	return p
}

// TestTokensOfCallers tries each kind of token at each kind of port.
func TestTokensOfCallers(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	own, foreign, stranger := newAuthority(t, trustDomain, "own"), newAuthority(t, auxiliary, "foreign"), newAuthority(t, trustDomain, "own")
	k := &keys{}
	k.set(t, own, foreign)
	p := jwtProxy(t, agent)
	x := startProxy(t, p, func(dir string) { k.serve(t, filepath.Dir(dir)) })
	x.waitReady()

	const web = "spiffe://example.org/web"
	later := time.Now().Add(time.Minute)
	tests := []struct {
		name, token string
		status      int
		subject     string // that the app and the log see
		details     string
	}{
		{"valid", own.token(t, web, audience, later), 200, web, "via_upstream"},
		{"valid, below a path, other audience", own.token(t, "spiffe://example.org/ns/prod/x", "other", later), 200, "spiffe://example.org/ns/prod/x", "via_upstream"},
		{"valid, of a federated domain", foreign.token(t, "spiffe://auxiliary.org/web", audience, later), 200, "spiffe://auxiliary.org/web", "via_upstream"},
		{"none", "", 401, "", "Jwt_is_missing"},
		{"garbage", "a.b.c", 401, "", "Jwt"},
		{"expired", own.token(t, web, audience, time.Now().Add(-10*time.Second)), 401, "", "Jwt_is_expired"},
		{"without expiry", own.token(t, web, audience, nil), 401, "", "Jwt"},
		{"wrong audience", own.token(t, web, "spiffe://example.org/apix", later), 403, "", "Audiences_in_Jwt_are_not_allowed"},
		{"wrong subject", own.token(t, "spiffe://example.org/other", audience, later), 403, "spiffe://example.org/other", "rbac_access_denied"},
		{"sibling of a path", own.token(t, "spiffe://example.org/ns/prodx", audience, later), 403, "spiffe://example.org/ns/prodx", "rbac_access_denied"},
		{"local subject, federated signer", foreign.token(t, web, audience, later), 403, web, "rbac_access_denied"},
		{"federated subject, local signer", own.token(t, "spiffe://auxiliary.org/web", audience, later), 403, "spiffe://auxiliary.org/web", "rbac_access_denied"},
		{"signed by nobody known", stranger.token(t, web, audience, later), 401, "", "Jwt"},
	}
	plain := &http.Client{Timeout: 5 * time.Second}
	mutual := tlsClient(t, agent, "/web")
	ports := []struct {
		name   string
		client *http.Client
		url    string
	}{
		{"mutual", mutual, fmt.Sprintf("https://127.0.0.1:%d", p.Inbound[0].Listen)},
		{"permissive, with a certificate", mutual, fmt.Sprintf("https://127.0.0.1:%d", p.Inbound[1].Listen)},
		{"permissive, plain", plain, fmt.Sprintf("http://127.0.0.1:%d", p.Inbound[1].Listen)},
		{"none", plain, fmt.Sprintf("http://127.0.0.1:%d", p.Inbound[2].Listen)},
	}
	type line struct {
		event  string
		fields map[string]string
	}
	var lines []line
	for i, port := range ports {
		for j, test := range tests {
			path := fmt.Sprintf("/%d/%d", i, j)
			response, body := ask(t, port.client, port.url+path, test.token, templates.JWTSubjectHeader, "spiffe://example.org/admin")
			if response == nil || response.StatusCode != test.status {
				t.Errorf("%s, %s: got %v %q, want %d", port.name, test.name, response, body, test.status)
				continue
			}
			if test.status == 200 && (response.Header.Get("Saw-Subject") != test.subject || response.Header.Get("Saw-Authorization") != "") {
				t.Errorf("%s, %s: the app saw subject %q, want %q, and Authorization %q, want none", port.name, test.name,
					response.Header.Get("Saw-Subject"), test.subject, response.Header.Get("Saw-Authorization"))
			}
			fields := map[string]string{"path": path, "status": fmt.Sprint(test.status), "details": test.details}
			if test.subject != "" {
				fields["subject"] = test.subject
			}
			event := "request"
			if port.name == "permissive, plain" {
				event = "plain_request"
			}
			lines = append(lines, line{event, fields})
		}
	}
	for _, l := range lines {
		x.waitEvent(l.event, l.fields)
	}
	valid := tests[0].token
	// A certificate is needed as well, and a token is not looked for where anybody on the way may log it.
	if response, body := ask(t, tlsClient(t, agent, "/other"), ports[0].url, valid); response != nil {
		t.Errorf("a token without the certificate: got %s %q, want a refused handshake", response.Status, body)
	}
	if response, body := ask(t, plain, ports[3].url+"?access_token="+valid, ""); response.StatusCode != 401 {
		t.Errorf("a token in the query: got %s %q, want 401", response.Status, body)
	}
	// A port that asks for no token tells the app no subject.
	response, body := ask(t, mutual, fmt.Sprintf("https://127.0.0.1:%d", p.Inbound[3].Listen), "", templates.JWTSubjectHeader, web)
	if response == nil || response.StatusCode != 200 || response.Header.Get("Saw-Subject") != "" {
		t.Errorf("a port without tokens: got %v %q, want 200 and no subject", response, body)
	}
	if strings.Contains(x.out.String(), valid) {
		t.Error("a token is in the log")
	}
	for _, name := range []string{"allowed", "denied", "jwks_fetch_success"} {
		if got := x.statistic(fmt.Sprintf("http.inbound_%d.jwt_authn.%s", p.Inbound[0].Listen, name)); got < 1 {
			t.Errorf("statistic %s: got %d", name, got)
		}
	}
}

// TestChangedSubjects: on a running Envoy and on an open connection.
func TestChangedSubjects(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	own := newAuthority(t, trustDomain, "own")
	k := &keys{}
	k.set(t, own)
	p := apiProxy(t, agent, "/web")
	p.Inbound[0].JWT = ir.JWT{Audiences: []string{audience}, Subjects: peers(t, "/web")}
	x := startProxy(t, p, func(dir string) { k.serve(t, filepath.Dir(dir)) })
	x.waitReady()
	client, url := tlsClient(t, agent, "/web"), fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)
	token := own.token(t, "spiffe://example.org/web", audience, time.Now().Add(time.Minute))
	gets := func(status int) func() error {
		return func() error {
			if response, body := ask(t, client, url, token); response == nil || response.StatusCode != status {
				return fmt.Errorf("got %v %q, want %d", response, body, status)
			}
			return nil
		}
	}
	eventually(t, time.Second, "the first answer", gets(200))
	for _, change := range []struct {
		subject string
		status  int
	}{{"/other", 403}, {"/web", 200}} {
		p.Inbound[0].JWT.Subjects = peers(t, change.subject)
		x.apply(p)
		t.Logf("in force after %s", eventually(t, time.Second, "the changed subjects", gets(change.status)))
	}
	// Those in audit are let in, told of, and still have to be vouched for by their own trust domain.
	foreign := newAuthority(t, auxiliary, "foreign")
	k.set(t, own, foreign)
	p.Inbound[0].Audit, p.Inbound[0].JWT.Subjects = true, peers(t, "/other", "spiffe://auxiliary.org/other")
	x.apply(p)
	eventually(t, 3*time.Second, "the audit", func() error {
		if err := gets(200)(); err != nil {
			return err
		}
		for _, event := range x.events("request") {
			if containsAll(event, map[string]string{"subject": "spiffe://example.org/web", "audit": "denied", "status": "200"}) {
				return nil
			}
		}
		return errors.New("no line tells of it")
	})
	token = foreign.token(t, "spiffe://example.org/other", audience, time.Now().Add(time.Minute))
	eventually(t, 3*time.Second, "the refused signer", gets(403))
}

// TestKeysRotate: a new key is known within two seconds, nothing is lost while the program that has them is away, and a
// key that is gone is refused.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	first, second := newAuthority(t, trustDomain, "first"), newAuthority(t, trustDomain, "second")
	k := &keys{}
	k.set(t, first)
	p := apiProxy(t, agent, "/web")
	p.Inbound[0].TLS, p.Inbound[0].Peers = ir.None, nil
	p.Inbound[0].JWT = ir.JWT{Audiences: []string{audience}, Subjects: peers(t, "/web")}
	var stop func()
	var dir string
	x := startProxy(t, p, func(data string) { dir = filepath.Dir(data); stop = k.serve(t, dir) })
	x.waitReady()
	client, url := &http.Client{Timeout: 5 * time.Second}, fmt.Sprintf("http://127.0.0.1:%d/", p.Inbound[0].Listen)
	gets := func(a authority, status int) func() error {
		token := a.token(t, "spiffe://example.org/web", audience, time.Now().Add(time.Minute))
		return func() error {
			if response, body := ask(t, client, url, token); response == nil || response.StatusCode != status {
				return fmt.Errorf("got %v %q, want %d", response, body, status)
			}
			return nil
		}
	}
	must(t, gets(first, 200)())
	must(t, gets(second, 401)())
	k.set(t, first, second)
	t.Logf("new key after %s", eventually(t, 3*time.Second, "the new key", gets(second, 200)))
	must(t, gets(first, 200)())
	stop()
	for range 8 { // longer than Envoy lets keys be old
		time.Sleep(time.Second)
		must(t, gets(second, 200)())
	}
	k.set(t, second)
	k.serve(t, dir)
	t.Logf("old key refused after %s", eventually(t, 5*time.Second, "the removed key", gets(first, 401)))
	must(t, gets(second, 200)())
}

// TestTokensForUpstreams: each upstream its own token in place of whatever the app sends, and none but a token of now.
func TestTokensForUpstreams(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/web")
	for _, protocol := range []ir.Protocol{ir.HTTP, ir.HTTP2} {
		api := apiProxy(t, agent, "/web")
		api.Inbound[0].Protocol = protocol
		startProxy(t, api).waitReady()
		to := address(t, api.Inbound[0].Listen)
		web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
			{Listen: freePort(t), Address: to, Peers: peers(t, "/api"), JWTAudience: "a", Protocol: protocol},
			{Listen: freePort(t), Address: to, Peers: peers(t, "/api"), JWTAudience: "b", Protocol: protocol},
			{Listen: freePort(t), Address: to, Peers: peers(t, "/api"), Protocol: protocol},
		}}
		var dir string
		later := time.Now().Add(time.Minute)
		x := startProxy(t, web, func(data string) {
			dir = filepath.Dir(data)
			writeToken(t, dir, "a", "", time.Time{})
			writeToken(t, dir, "b", "for-b", later)
		})
		x.waitReady()
		client := &http.Client{Timeout: 5 * time.Second}
		url := func(i int) string { return fmt.Sprintf("http://127.0.0.1:%d/", web.Upstreams[i].Listen) }
		sends := func(i, status int, header string) {
			t.Helper()
			eventually(t, time.Second, fmt.Sprintf("upstream %d with %d and %q", i, status, header), func() error {
				response, body := ask(t, client, url(i), "of-the-app")
				if response == nil || response.StatusCode != status || response.Header.Get("Saw-Authorization") != header {
					return fmt.Errorf("got %v %q", response, body)
				}
				if status == 401 && body != "Failed to inject credential." {
					return fmt.Errorf("got %q", body)
				}
				return nil
			})
		}
		sends(0, 401, "")
		x.waitEvent("upstream_request", map[string]string{"status": "401", "details": "credential"})
		sends(1, 200, "Bearer for-b")
		sends(2, 200, "Bearer of-the-app")
		for i := range 3 {
			token := fmt.Sprintf("token-%d", i)
			writeToken(t, dir, "a", token, later)
			sends(0, 200, "Bearer "+token)
			writeToken(t, dir, "a", "", time.Time{})
			sends(0, 401, "")
		}
		// Nobody takes this one away.
		writeToken(t, dir, "a", "short", time.Now().Add(2*time.Second))
		sends(0, 200, "Bearer short")
		eventually(t, 3*time.Second, "the refusal of a token that is over", func() error {
			if response, body := ask(t, client, url(0), ""); response == nil || response.StatusCode != 401 || body != "Failed to inject credential." {
				return fmt.Errorf("got %v %q", response, body)
			}
			return nil
		})
		sends(1, 200, "Bearer for-b")
		if strings.Contains(x.out.String(), "for-b") {
			t.Error("a token is in the log")
		}
	}
}
