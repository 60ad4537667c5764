package envoy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestLongHeadersEndNothingElse: headers beyond the bounds, of a request or of an answer, are told to the one who asked.
// The requests of others, which share its connection to the callee, go on.
func TestLongHeadersEndNothingElse(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/web")
	begun, end := make(chan struct{}), make(chan struct{})
	listener, port := listen(t)
	server := &http.Server{MaxHeaderBytes: 1 << 20, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			close(begun)
			<-end
			fmt.Fprint(w, "ok")
		}
		n, _ := strconv.Atoi(r.URL.Query().Get("answer"))
		w.Header().Set("X-Long", strings.Repeat("~", n))
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	in := ir.Inbound{Listen: freePort(t), App: port, Peers: peers(t, "/web")}
	startProxy(t, ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{in}}).waitReady()
	up := ir.Upstream{Listen: freePort(t), Address: address(t, in.Listen), Peers: peers(t, "/api"), Protocol: ir.HTTP2}
	startProxy(t, ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{up}}).waitReady()
	url := fmt.Sprintf("http://127.0.0.1:%d", up.Listen)

	slow, err := http.Get(url + "/slow")
	must(t, err)
	defer slow.Body.Close()
	<-begun
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxResponseHeaderBytes: 1 << 20}}
	for _, test := range []struct{ request, answer, status int }{
		{200_000, 0, 200}, {255_000, 0, 200}, {262_200, 0, 431}, {270_000, 0, 431}, {330_000, 0, 431}, {900_000, 0, 431},
		{0, 200_000, 200}, {0, 255_000, 200}, {0, 262_500, 502}, {0, 300_000, 502}, {0, 330_000, 502},
	} {
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/?answer=%d", url, test.answer), nil)
		must(t, err)
		request.Header.Set("X-Long", strings.Repeat("~", test.request))
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != test.status {
			t.Errorf("%+v: got %s", test, response.Status)
		}
	}
	close(end)
	if body, err := io.ReadAll(slow.Body); err != nil || string(body) != "ok" {
		t.Errorf("the request of another got %q, %v", body, err)
	}
}
