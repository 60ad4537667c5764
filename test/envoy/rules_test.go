package envoy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/pathtricks"
)

// rule lets a peer make some requests; lists are separated by spaces, and an empty one means all.
func rule(t *testing.T, item int, peer, methods, texts string) ir.Rule {
	t.Helper()
	out := ir.Rule{Item: item, Peer: peers(t, peer)[0]}
	if methods != "" {
		out.Methods = strings.Fields(methods)
	}
	for _, text := range strings.Fields(texts) {
		path, err := ir.ParsePath(text)
		must(t, err)
		out.Paths = append(out.Paths, path)
	}
	return out
}

// startTarget is an app that answers with the target of the request.
func startTarget(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	go pathtricks.Serve(listener)
	return port
}

// rawCaller is one that sends what it likes.
func rawCaller(t *testing.T, a *agent, path string, port uint16) *pathtricks.Caller {
	t.Helper()
	config := tlsConfig(t, a, id(path).String())
	config.NextProtos = []string{"http/1.1"}
	c := &pathtricks.Caller{Dial: func() (net.Conn, error) {
		return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config)
	}}
	t.Cleanup(c.Close)
	return c
}

// TestRules: which caller may ask for what, over both versions of HTTP, and which items the log names if it may not.
func TestRules(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/admin")
	in := &p.Inbound[0]
	in.Rules = []ir.Rule{
		rule(t, 1, "/web", "GET HEAD", "/healthz /v1/*"),
		rule(t, 2, "/ns/prod/*", "GET", ""),
		rule(t, 3, "/web", "POST", "/v1/orders"),
		rule(t, 4, "/ns/prod/a", "", "/v2/*"),
		rule(t, 5, "/grpc", "", "/pkg.Greeter/Hello /pkg.Other/*"),
	}
	x := startProxy(t, p)
	x.waitReady()
	listener := fmt.Sprintf("inbound_%d", in.Listen)
	for _, test := range []struct {
		caller, method, path string
		rule                 string // which it missed; empty is let in
	}{
		{"/admin", "DELETE", "/anything", ""},
		{"/web", "GET", "/healthz", ""},
		{"/web", "HEAD", "/healthz?deep=1", ""},
		{"/web", "GET", "/healthz/", "1,3"},
		{"/web", "GET", "/healthz/x", "1,3"},
		{"/web", "GET", "/v1/", ""},
		{"/web", "GET", "/v1/a/b?c=/../d", ""},
		{"/web", "GET", "/v1", "1,3"},
		{"/web", "GET", "/V1/a", "1,3"},
		{"/web", "GET", "/v1x/a", "1,3"},
		{"/web", "GET", "/", "1,3"},
		{"/web", "PUT", "/v1/a", "1,3"},
		{"/web", "POST", "/v1/orders", ""},
		{"/web", "POST", "/v1/a", "1,3"},
		{"/web", "GET", "/v1/orders", ""},
		{"/ns/prod/b", "GET", "/anything", ""},
		{"/ns/prod/b", "POST", "/v2/x", "2"},
		{"/ns/prod/a", "POST", "/v2/x", ""},
		{"/ns/prod/a", "GET", "/anything", ""},
		{"/ns/prod/a", "POST", "/v1/x", "2,4"},
		{"/grpc", "POST", "/pkg.Greeter/Hello", ""},
		{"/grpc", "POST", "/pkg.Greeter/Other", "5"},
		{"/grpc", "POST", "/pkg.Other/Any", ""},
	} {
		for _, http2 := range []bool{false, true} {
			client := tlsClient(t, agent, test.caller)
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
			request, err := http.NewRequest(test.method, fmt.Sprintf("https://127.0.0.1:%d%s", in.Listen, test.path), nil)
			must(t, err)
			response, err := client.Do(request)
			must(t, err)
			body, err := io.ReadAll(response.Body)
			must(t, err)
			response.Body.Close()
			client.CloseIdleConnections()
			want, wantBody := 200, "ok"
			if test.rule != "" {
				want, wantBody = 403, refusedByRBAC
			}
			if test.method == "HEAD" {
				wantBody = ""
			}
			if response.StatusCode != want || string(body) != wantBody || (response.ProtoMajor == 2) != http2 {
				t.Errorf("%s %s by %s over %s: got %d %q, want %d",
					test.method, test.path, test.caller, response.Proto, response.StatusCode, body, want)
			}
		}
		if test.rule != "" {
			path, _, _ := strings.Cut(test.path, "?")
			x.waitEvent("request", map[string]string{
				"peer": test.caller, "method": test.method, "path": path, "status": "403",
				"rule": listener + ".peers[" + test.rule + "]", "details": "rbac_access_denied",
			})
		}
	}
	for _, event := range x.events("request") {
		if _, told := event["rule"]; told != (event["status"] == 403.0) {
			t.Errorf("a line of status %v names a rule: %t", event["status"], told)
		}
	}
	if status, _, err := get(tlsClient(t, agent, "/stranger"), fmt.Sprintf("https://127.0.0.1:%d/v1/", in.Listen)); err == nil {
		t.Errorf("a caller in no item got %d", status)
	}
}

// TestChangedRules: another path of a rule is in force at once, and no request of another caller is lost for it.
func TestChangedRules(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/admin")
	p.Inbound[0].Rules = []ir.Rule{rule(t, 1, "/web", "GET", "/v1/*")}
	x := startProxy(t, p)
	x.waitReady()
	base := fmt.Sprintf("https://127.0.0.1:%d", p.Inbound[0].Listen)
	web, admin := tlsClient(t, agent, "/web"), tlsClient(t, agent, "/admin")
	for _, client := range []*http.Client{web, admin} {
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
		client.Timeout = 30 * time.Second
	}
	expect(t, web, base+"/v1/a", 200, "ok")
	expect(t, admin, base+"/v2/a", 200, "ok")
	long := make(chan error, 1)
	go func() {
		status, _, err := get(admin, base+"/v9?for=4s")
		if err == nil && status != 200 {
			err = fmt.Errorf("got %d", status)
		}
		long <- err
	}()
	for i := range 6 {
		may, not := "/v1/a", "/v2/a"
		rules := "/v1/*"
		if i%2 == 0 {
			may, not, rules = not, may, "/v2/a"
		}
		p.Inbound = slices.Clone(p.Inbound)
		p.Inbound[0].Rules = []ir.Rule{rule(t, i, "/web", "GET", rules)}
		x.apply(p)
		took := eventually(t, 3*time.Second, "the changed rule", answers(web, base+may, 200))
		t.Logf("in force after %s", took)
		expect(t, web, base+not, 403, refusedByRBAC)
	}
	if err := <-long; err != nil {
		t.Errorf("another caller's long request: %v", err)
	}
}

// TestAuditedRules: requests that a rule would deny pass, are logged with its name, and counted.
func TestAuditedRules(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent)
	p.Inbound[0].Audit = true
	p.Inbound[0].Rules = []ir.Rule{rule(t, 0, "/web", "GET", "/v1/*")}
	x := startProxy(t, p)
	x.waitReady()
	base := fmt.Sprintf("https://127.0.0.1:%d", p.Inbound[0].Listen)
	listener := fmt.Sprintf("inbound_%d", p.Inbound[0].Listen)
	for _, test := range []struct{ caller, path, audit, rule string }{
		{"/web", "/v1/allowed", "allowed", ""},
		{"/web", "/v2/missed", "denied", listener + ".peers[0]"},
		{"/web", "/v1/a%2fb", "denied", listener + ".peers[0]"},
		{"/other", "/v1/unknown", "denied", listener},
	} {
		expect(t, tlsClient(t, agent, test.caller), base+test.path, 200, "ok")
		want := map[string]string{"peer": test.caller, "path": test.path, "status": "200", "audit": test.audit}
		if test.rule != "" {
			want["rule"] = test.rule
		}
		x.waitEvent("request", want)
	}
	if got := x.statistic("http." + listener + ".rbac.shadow_denied"); got != 3 {
		t.Errorf("%d would-be denials are counted, want 3", got)
	}
	p.Inbound = slices.Clone(p.Inbound)
	p.Inbound[0].Audit = false
	x.apply(p)
	eventually(t, 3*time.Second, "enforcement", answers(tlsClient(t, agent, "/web"), base+"/v2/missed", 403))
	expect(t, tlsClient(t, agent, "/web"), base+"/v1/allowed", 200, "ok")
}

// TestPathTricks: no path by which callers have come past proxies reaches what the rule denies, as any server would
// take it. Callers that may ask for everything are served as without rules.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/admin")
	p.Inbound[0].App = startTarget(t)
	p.Inbound[0].Rules = []ir.Rule{
		rule(t, 1, "/web", "", "/v1/*"), rule(t, 2, "/one", "", "/v1/info"),
	}
	x := startProxy(t, p)
	x.waitReady()
	web, one := rawCaller(t, agent, "/web", p.Inbound[0].Listen), rawCaller(t, agent, "/one", p.Inbound[0].Listen)
	tricks := pathtricks.Tricks("/v1/", "/admin")
	pieces, random := pathtricks.Pieces("/v1/", "/admin"), rand.New(rand.NewPCG(5, 6))
	for range 1500 {
		path := "/v1/"
		for range 1 + random.IntN(8) {
			path += pieces[random.IntN(len(pieces))]
		}
		tricks = append(tricks, path)
	}
	answers, wrong, err := web.Try(tricks, "/v1/")
	must(t, err)
	for _, each := range wrong {
		t.Error(each)
	}
	if answers[200] < 100 || answers[403] < 1000 {
		t.Errorf("answers %v: too few to tell", answers)
	}
	for _, path := range []string{
		"/v1/info;a=b", "/v1/info/", "/v1/info%20", "/v1/inf%6F/x", "/v1/info/..;/x", "/v1/info%00", "/v1/x/../info%2f..", "/v1/info/.;",
		"/V1/info", "/v1/info%3f", "/v1/%2e%2e;/v1/info", "/v1/INFO", "/v1/info.", "/v1/info%0a", "/v1/info//x",
	} {
		if status, seen, err := one.Ask("GET", path); err != nil || status == 200 && seen != "/v1/info" {
			t.Errorf("%q: %d, the app saw %q, %v", path, status, seen, err)
		}
	}
	for _, path := range []string{"/v1/info", "/v1/info?a=b", "/v1/x/../info", "//v1/./info", `/v1\info`, "/v1/%2e/info", "/v1/%69nfo"} {
		status, seen, err := one.Ask("GET", path)
		if clean, _, _ := strings.Cut(seen, "?"); err != nil || status != 200 || clean != "/v1/info" {
			t.Errorf("%q: %d, the app saw %q, %v", path, status, seen, err)
		}
	}
	admin := rawCaller(t, agent, "/admin", p.Inbound[0].Listen)
	for _, path := range []string{"/v1/a%2fb", "/a%5Cb", "/x/;y/..z", "/%25", "/a%2eb?c//d/../e", "/%c0%ae"} {
		if status, seen, err := admin.Ask("GET", path); err != nil || status != 200 || seen != strings.ReplaceAll(path, "%2e", ".") {
			t.Errorf("%q of one who may ask for everything: %d, the app saw %q, %v", path, status, seen, err)
		}
	}
}

// TestPathTricksOverHTTP2 has a part of them in the pseudo header.
func TestPathTricksOverHTTP2(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent)
	p.Inbound[0].App = startTarget(t)
	p.Inbound[0].Rules = []ir.Rule{rule(t, 0, "/web", "", "/v1/*")}
	x := startProxy(t, p)
	x.waitReady()
	client := tlsClient(t, agent, "/web")
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	host := fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen)
	answers := map[int]int{}
	for i, path := range pathtricks.Tricks("/v1/", "/admin") {
		if i%30 != 0 && i > 60 {
			continue
		}
		request := &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Scheme: "https", Host: host, Opaque: path}}
		response, err := client.Do(request)
		if err != nil {
			continue // the client has its own opinion, or the stream was reset
		}
		body, err := io.ReadAll(response.Body)
		must(t, err)
		response.Body.Close()
		answers[response.StatusCode]++
		if wrong := pathtricks.Judge(path, response.StatusCode, string(body), "/v1/"); wrong != "" {
			t.Error(wrong)
		}
	}
	if answers[403] < 40 {
		t.Errorf("answers %v: too few to tell", answers)
	}
}

// TestWaysAroundRules: what else a request may say than its method and path.
func TestWaysAroundRules(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent)
	p.Inbound[0].App = startTarget(t)
	p.Inbound[0].Rules = []ir.Rule{rule(t, 0, "/web", "GET", "/v1/*")}
	x := startProxy(t, p)
	x.waitReady()
	web := rawCaller(t, agent, "/web", p.Inbound[0].Listen)
	for _, test := range []struct {
		method, target string
		headers        []string
		want           string // statuses that are possible
	}{
		{"GET", "http://app.test/admin", nil, "403"},
		{"GET", "http://app.test/v1/../admin", nil, "403"},
		{"GET", "http://app.test/v1/a", nil, "200"},
		{"GET", "https://app.test@evil/v1/a", nil, "200 400 403"},
		{"GET", "http://v1/admin", nil, "403"},
		{"GET", "*", nil, "400 403 404"},
		{"OPTIONS", "*", nil, "400 403 404"},
		{"GET", "v1/a", nil, "400 403 404"},
		{"CONNECT", "app.test:443", nil, "400 403 404 405"},
		{"CONNECT", "/v1/a", nil, "400 403 404 405"},
		{"get", "/v1/a", nil, "400 403"},
		{"POST", "/v1/a", []string{"X-HTTP-Method-Override: GET", "Content-Length: 0"}, "403"},
		{"GET", "/admin", []string{"X-Envoy-Original-Path: /v1/a"}, "403"},
		{"GET", "/admin", []string{"X-Original-URL: /v1/a", "X-Rewrite-URL: /v1/a"}, "403"},
		{"GET", "/admin", []string{"Connection: Upgrade", "Upgrade: websocket"}, "403"},
		{"GET", "/admin", []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}, "400 403"},
		{"GET", "/admin", []string{"Connection: Upgrade", "Upgrade: TLS/1.2"}, "403"},
		{"GET", "/admin", []string{":path: /v1/a"}, "400 403"},
		{"GET", "/admin", []string{"X-Forwarded-Prefix: /v1", "X-Forwarded-Path: /v1/a", "Forwarded: path=/v1/a"}, "403"},
	} {
		status, seen, err := web.Ask(test.method, test.target, test.headers...)
		if err != nil && test.method != "CONNECT" {
			t.Fatalf("%s %s: %v", test.method, test.target, err)
		}
		if err == nil && !slices.Contains(strings.Fields(test.want), fmt.Sprint(status)) {
			t.Errorf("%s %s %v: got %d (%s), want %s", test.method, test.target, test.headers, status, seen, test.want)
		}
		if status == 200 && !strings.HasPrefix(seen, "/v1/") {
			t.Errorf("%s %s %v: the app saw %q", test.method, test.target, test.headers, seen)
		}
	}
	// The path in the log is the one that was compared.
	x.waitEvent("request", map[string]string{"path": "/admin", "status": "403"})
}

// TestUpgradeByRule upgrades where the rule lets the caller, and nowhere else.
func TestUpgradeByRule(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent)
	p.Inbound[0].Rules = []ir.Rule{rule(t, 0, "/web", "GET", "/v1/*")}
	startProxy(t, p).waitReady()
	for path, want := range map[string]int{"/v1/socket": http.StatusSwitchingProtocols, "/socket": 403, "/v1/..;/socket": 403} {
		config := tlsConfig(t, agent, id("/web").String())
		connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen), config)
		must(t, err)
		defer connection.Close()
		must(t, connection.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", path)
		must(t, err)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		must(t, err)
		if response.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, response.StatusCode, want)
		}
	}
}
