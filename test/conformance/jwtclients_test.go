package conformance

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// tokenPorts are an Envoy's ports that ask for a token beside a certificate, beside one or none, and instead of one;
// and one that asks for nothing. They let in certificates of /web, and tokens of /web and of the partner's workloads.
type tokenPorts struct {
	proxy                                 *proxy
	app                                   *app
	required, optional, notAsked, without uint16
}

func startTokenPorts(t *testing.T) tokenPorts {
	t.Helper()
	p := tokenPorts{app: startApp(t), required: port(t), optional: port(t), notAsked: port(t), without: port(t)}
	asked := ir.JWT{Audiences: []string{own("/api")}, Subjects: peers(t, "/web", partner("/*"))}
	p.proxy = shared.startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{
		{Listen: p.required, App: p.app.port, Peers: peers(t, "/web"), JWT: asked},
		{Listen: p.optional, App: p.app.port, Peers: peers(t, "/web"), Clients: ir.Request, JWT: asked},
		{Listen: p.notAsked, App: p.app.port, Clients: ir.NoRequest, JWT: asked, Limits: ir.Limits{MaxRequestBytes: 1 << 20}},
		{Listen: p.without, App: p.app.port, Clients: ir.NoRequest},
	}}, shared.startTokens(t, "/api"))
	return p
}

// ask returns the status and what the app saw; 0 for a connection that ends without an answer. The app must be reached
// only by what is served.
func (p tokenPorts) ask(t *testing.T, port uint16, certificate tls.Certificate, request string, headers ...string) (int, seen) {
	t.Helper()
	before := p.app.requests.Load()
	status, got := 0, seen{}
	connection, err := dial(port, showing(certificate))
	if err == nil {
		defer connection.Close()
		lines := append([]string{request, "Host: app.test"}, headers...)
		if _, err = io.WriteString(connection, strings.Join(lines, "\r\n")+"\r\n\r\n"); err == nil {
			status, got, err = readAnswer(bufio.NewReader(connection))
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if reached := p.app.requests.Load() > before; reached != (status == 200) {
		t.Errorf("got status %d (%v), and the app was reached: %t", status, err, reached)
	}
	return status, got
}

// TestTokensAndCertificates tries each kind of token with each kind of certificate at each kind of port. A good token
// does not help whoever shows a certificate that is not a peer's, and a good certificate not whoever has no token.
func TestTokensAndCertificates(t *testing.T) {
	t.Parallel()
	p := startTokenPorts(t)
	stranger, err := newAuthority("stranger")
	must(t, err)
	good := shared.own.token(t, "/web", own("/api"))
	tokens := []struct {
		name, token string
		status      int
		subject     string
	}{
		{"of /web", good, 200, own("/web")},
		{"of the partner", shared.partner.token(t, "/any", own("/api")), 200, partner("/any")},
		{"none", "", 401, ""},
		{"cut off", good[:len(good)-10], 401, ""},
		{"of another subject", shared.own.token(t, "/other", own("/api")), 403, ""},
		{"for another audience", shared.own.token(t, "/web", own("/apix")), 403, ""},
	}
	none, web, other := tls.Certificate{}, shared.own.svid(t, "/web"), shared.own.svid(t, "/other")
	partners, strangers := shared.partner.svid(t, "/web"), stranger.sign(t, uris(t, own("/web")))
	const (
		refused   = "refused in the handshake"
		forbidden = "refused whatever token there is"
		nobody    = "" // else the caller of whom the app is told
	)
	callers := []struct {
		port        string
		listen      uint16
		certificate string
		shown       tls.Certificate
		verdict     string
	}{
		{"required", p.required, "none", none, refused},
		{"required", p.required, "a peer's", web, own("/web")},
		{"required", p.required, "another's", other, refused},
		{"required", p.required, "a partner's", partners, refused},
		{"required", p.required, "a stranger's", strangers, refused},
		{"optional", p.optional, "none", none, nobody},
		{"optional", p.optional, "a peer's", web, own("/web")},
		{"optional", p.optional, "another's", other, forbidden},
		{"optional", p.optional, "a partner's", partners, refused},
		{"optional", p.optional, "a stranger's", strangers, refused},
		{"not asked", p.notAsked, "none", none, nobody},
		{"not asked", p.notAsked, "a peer's", web, nobody},
		{"not asked", p.notAsked, "another's", other, nobody},
		{"not asked", p.notAsked, "a stranger's", strangers, nobody},
	}
	for _, caller := range callers {
		for _, token := range tokens {
			t.Run(fmt.Sprintf("%s, certificate %s, token %s", caller.port, caller.certificate, token.name), func(t *testing.T) {
				want := token.status
				switch {
				case caller.verdict == refused:
					want = 0
				case caller.verdict == forbidden && want == 200:
					want = 403
				}
				headers := []string{"X-Forwarded-Client-Cert: URI=" + own("/admin"), templates.JWTSubjectHeader + ": " + own("/admin")}
				if token.token != "" {
					headers = append(headers, "Authorization: Bearer "+token.token)
				}
				status, got := p.ask(t, caller.listen, caller.shown, "GET / HTTP/1.1", headers...)
				if status != want {
					t.Fatalf("got status %d, want %d", status, want)
				}
				if status != 200 {
					return
				}
				if caller.verdict != nobody {
					saysOnly(t, got, own("/api"), caller.verdict)
				} else if diff := cmp.Diff([]string(nil), got.Header.Values("X-Forwarded-Client-Cert")); diff != "" {
					t.Errorf("the app saw X-Forwarded-Client-Cert of nobody (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{token.subject}, got.Header.Values(templates.JWTSubjectHeader)); diff != "" {
					t.Errorf("the app saw the subject (-want +got):\n%s", diff)
				}
				if got.Header.Get("Authorization") != "" {
					t.Error("the app saw the token")
				}
			})
		}
	}
	// Why a good token was refused is in the log.
	p.proxy.event(t, map[string]string{"listener": fmt.Sprintf("inbound_%d", p.optional), "status": "403", "details": "rbac_access_denied_matched_policy[none]",
		"peer": own("/other"), "subject": own("/web")})
}

// TestTokensCannotBeDoneWithout: what a caller may send that is no plain request, or that looks like what Envoy tells
// the app.
func TestTokensCannotBeDoneWithout(t *testing.T) {
	t.Parallel()
	p := startTokenPorts(t)
	nobody, web := tls.Certificate{}, shared.own.svid(t, "/web")
	authorization := "Authorization: Bearer " + shared.own.token(t, "/web", own("/api"))
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket"}
	tests := []struct {
		name    string
		listen  uint16
		shown   tls.Certificate
		request string
		headers []string
		status  int
	}{
		{"a web socket", p.notAsked, nobody, "GET / HTTP/1.1", upgrade, 401},
		{"a web socket of a peer", p.required, web, "GET / HTTP/1.1", upgrade, 401},
		{"no path", p.notAsked, nobody, "OPTIONS * HTTP/1.1", nil, 404},
		{"a token in the query", p.optional, nobody, "GET /?access_token=" + authorization[len("Authorization: Bearer "):] + " HTTP/1.1", nil, 401},
		{"a subject", p.notAsked, nobody, "GET / HTTP/1.1", []string{templates.JWTSubjectHeader + ": " + own("/web")}, 401},
		{"a subject with underscores", p.notAsked, nobody, "GET / HTTP/1.1", []string{authorization, "x_spiffe_jwt_subject: " + own("/admin")}, 400},
		{"a subject with underscores, optional", p.optional, nobody, "GET / HTTP/1.1", []string{authorization, "x_spiffe_jwt_subject: " + own("/admin")}, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if status, _ := p.ask(t, test.listen, test.shown, test.request, test.headers...); status != test.status {
				t.Errorf("got status %d, want %d", status, test.status)
			}
		})
	}
	t.Run("a subject where nobody is asked for a token", func(t *testing.T) {
		status, got := p.ask(t, p.without, web, "GET / HTTP/1.1", templates.JWTSubjectHeader+": "+own("/admin"), "X-Forwarded-Client-Cert: URI="+own("/admin"))
		if told := got.Header.Get(templates.JWTSubjectHeader) + got.Header.Get("X-Forwarded-Client-Cert"); status != 200 || told != "" {
			t.Errorf("got status %d, and the app was told %q", status, told)
		}
	})
	t.Run("a subject in another spelling, of a peer", func(t *testing.T) {
		status, got := p.ask(t, p.required, web, "GET / HTTP/1.1", authorization, "x_spiffe-jwt_subject: "+own("/admin"))
		for name, values := range got.Header {
			if strings.Contains(strings.Join(values, ","), own("/admin")) {
				t.Errorf("the app saw %s: %s", name, values)
			}
		}
		if status != 200 {
			t.Errorf("got status %d", status)
		}
	})
}
