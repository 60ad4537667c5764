package envoy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// behind is an app behind an Envoy of its own, which a gateway calls on behalf of its clients.
type behind struct {
	agent        *agent
	gateway, api ir.Proxy
	atGateway    string // the gateway's URL
	atAPI        string // the API's own
	gatewayEnvoy *proxy
	apiEnvoy     *proxy
}

func startBehind(t *testing.T, forwarded ...string) *behind {
	t.Helper()
	b := &behind{agent: startAgent(t, "/edge", "/api")}
	b.api = apiProxy(t, b.agent, "/edge", "/gateways/*")
	b.api.Inbound[0].Forwarded = peers(t, forwarded...)
	b.gateway = ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: b.agent.socket, Gateway: true,
		Inbound:   []ir.Inbound{{Listen: freePort(t), Peers: peers(t, "/*"), Clients: ir.Request}},
		Upstreams: []ir.Upstream{{Match: match(t, "/"), Address: address(t, b.api.Inbound[0].Listen), Peers: peers(t, "/api")}},
	}
	b.apiEnvoy, b.gatewayEnvoy = startProxy(t, b.api), startProxy(t, b.gateway)
	b.apiEnvoy.waitReady()
	b.gatewayEnvoy.waitReady()
	b.atGateway = fmt.Sprintf("https://127.0.0.1:%d/", b.gateway.Inbound[0].Listen)
	b.atAPI = fmt.Sprintf("https://127.0.0.1:%d/", b.api.Inbound[0].Listen)
	return b
}

// as asks as one of our IDs, with headers X-Forwarded-Client-Cert of its own, and returns the status and what the app
// saw.
func (b *behind) as(t *testing.T, path, url string, xfcc ...string) (int, string) {
	t.Helper()
	client := anonymous()
	if path != "" {
		client = tlsClient(t, b.agent, path)
	}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	if len(xfcc) > 0 {
		request.Header["X-Forwarded-Client-Cert"] = xfcc
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Saw-Xfcc")
}

// TestForwardedClient: the app sees the client and the gateway; who is not on the list is refused, whatever the client
// says of itself; and the list changes on a running Envoy.
func TestForwardedClient(t *testing.T) {
	t.Parallel()
	b := startBehind(t, "/web", "/shop/*")
	forged := "By=spiffe://example.org/edge;Hash=" + strings.Repeat("0", 64) + ";URI=spiffe://example.org/web"
	for _, path := range []string{"/web", "/shop/a"} {
		status, saw := b.as(t, path, b.atGateway, forged)
		elements := strings.Split(saw, ",")
		if status != 200 || len(elements) != 2 ||
			!strings.HasPrefix(elements[0], "By=spiffe://example.org/edge;Hash=") || !strings.HasSuffix(elements[0], ";URI=spiffe://example.org"+path) ||
			!strings.HasPrefix(elements[1], "By=spiffe://example.org/api;Hash=") || !strings.HasSuffix(elements[1], ";URI=spiffe://example.org/edge") {
			t.Errorf("%s: got %d, the app saw %q", path, status, saw)
		}
		if strings.Contains(saw, "0000") {
			t.Errorf("%s: the app saw what the client wrote: %q", path, saw)
		}
		b.apiEnvoy.waitEvent("request", map[string]string{"client": "spiffe://example.org" + path, "peer": "spiffe://example.org/edge", "status": "200"})
	}
	// Others, nobody, and those who say that they are somebody else.
	for _, path := range []string{"/other", "/shop", "/shopx", "/web/x", "/webx", ""} {
		for _, xfcc := range [][]string{nil, {forged}, {forged, forged}, {forged + ",x"}} {
			if status, saw := b.as(t, path, b.atGateway, xfcc...); status != 403 {
				t.Errorf("%s with %q: got %d, the app saw %q", path, xfcc, status, saw)
			}
		}
	}
	b.apiEnvoy.waitEvent("request", map[string]string{"client": "spiffe://example.org/other", "status": "403", "details": "rbac_access_denied"})
	// Whoever is no gateway does not reach it.
	for _, path := range []string{"/web", "/other"} {
		if status, saw := b.as(t, path, b.atAPI, forged); status != 0 {
			t.Errorf("%s without gateway: got %d, the app saw %q", path, status, saw)
		}
	}

	b.api.Inbound[0].Forwarded = peers(t, "/other")
	b.apiEnvoy.apply(b.api)
	eventually(t, time.Second, "the changed list", func() error {
		if status, _ := b.as(t, "/other", b.atGateway); status != 200 {
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
	if status, _ := b.as(t, "/web", b.atGateway); status != 403 {
		t.Errorf("a removed client: got %d", status)
	}
}

// TestForwardedIsStrict: a gateway that passes on what no Envoy writes, because it is none or has been taken over by a
// client, gets nobody in but by the one form.
func TestForwardedIsStrict(t *testing.T) {
	t.Parallel()
	// The gateways themselves are below one of the clients' prefixes.
	b := startBehind(t, "/web", "/gateways/*")
	by, hash, uri := "By=spiffe://example.org/edge;", "Hash="+strings.Repeat("a1", 32)+";", "URI=spiffe://example.org/web"
	for _, good := range []string{by + hash + uri, hash + uri, by + hash + "URI=spiffe://example.org/gateways/b"} {
		if status, saw := b.as(t, "/edge", b.atAPI, good); status != 200 || !strings.HasPrefix(saw, good+",By=spiffe://example.org/api;Hash=") {
			t.Errorf("%s: got %d, the app saw %q", good, status, saw)
		}
	}
	other := "URI=spiffe://example.org/other"
	for name, xfcc := range map[string][]string{
		"nothing":                      nil,
		"empty":                        {""},
		"another client":               {by + hash + other},
		"no hash":                      {by + uri},
		"a hash that is none":          {by + "Hash=xyz;" + uri},
		"two URIs":                     {by + hash + uri + ";" + other},
		"two URIs, the other first":    {by + hash + other + ";" + uri},
		"two elements":                 {by + hash + other + "," + by + hash + uri},
		"two elements, good one first": {by + hash + uri + "," + by + hash + other},
		"twice the same":               {by + hash + uri + "," + by + hash + uri},
		"two headers":                  {by + hash + other, by + hash + uri},
		"two headers, good one first":  {by + hash + uri, by + hash + other},
		"an empty element":             {by + hash + uri + ","},
		"an empty element first":       {"," + by + hash + uri},
		"spaces":                       {by + hash + uri + " ;x"},
		"a space after":                {by + " " + hash + uri},
		"quotes":                       {by + hash + `URI="spiffe://example.org/web"`},
		"a quoted subject":             {by + hash + `Subject="CN=x,URI=spiffe://example.org/web";` + other},
		"a subject in the way":         {by + hash + `Subject="";` + uri},
		"other order":                  {by + uri + ";" + hash[:len(hash)-1]},
		"lower case":                   {by + hash + "uri=spiffe://example.org/web"},
		"a query":                      {by + hash + uri + "?x"},
		"a longer ID":                  {by + hash + uri + "x"},
		"an ID below":                  {by + hash + uri + "/x"},
		"an encoded comma":             {by + hash + uri + "%2C" + other},
		"By with a comma in quotes":    {`By="x,y";` + hash + uri},
		"the prefix itself":            {by + hash + "URI=spiffe://example.org/gateways"},
		"the URI alone":                {"spiffe://example.org/web"},
		"the URI and our element":      {uri},
		"a prefix as a whole":          {"spiffe://example.org/gateways/x"},
		"another domain":               {by + hash + "URI=spiffe://auxiliary.org/web"},
		"a tab":                        {by + hash + uri + "\tx"},
		"no URI":                       {by + hash[:len(hash)-1]},
	} {
		for _, gateway := range []string{"/edge", "/gateways/a"} {
			if status, saw := b.as(t, gateway, b.atAPI, xfcc...); status != 403 {
				t.Errorf("%s, from %s: got %d, the app saw %q", name, gateway, status, saw)
			}
		}
	}
}

// TestManyForwardedClients: Envoy bounds its patterns, not the list.
func TestManyForwardedClients(t *testing.T) {
	t.Parallel()
	var list []string
	for i := range 200 {
		list = append(list, fmt.Sprintf("/ns/some-quite-long-namespace/sa/client-%d-%s", i, strings.Repeat("x", 100)))
	}
	b := startBehind(t, list...)
	if status, _ := b.as(t, list[199], b.atGateway); status != 200 {
		t.Errorf("got %d", status)
	}
	if status, _ := b.as(t, "/web", b.atGateway); status != 403 {
		t.Errorf("got %d, want 403", status)
	}
}
