package envoy

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// containerMemory is the limit of the container in these tests, and flood how many answers nobody reads: they would
// take more than twice as much.
const (
	containerMemory = 256 << 20
	flood           = 3000
	batch           = 50
)

// TestFloodUnderALimit: an Envoy that knows its container's limit survives what ends one that does not. It goes on
// answering probes meanwhile, and callers afterwards.
func TestFloodUnderALimit(t *testing.T) {
	if got := floodedUntil(t, startUnderLimit(t, 0)); got != "" {
		t.Fatalf("the flood is too small to end an Envoy: %s", got)
	}
	x := startUnderLimit(t, containerMemory)
	if got := floodedUntil(t, x); got == "" {
		t.Fatal("the Envoy has ended")
	}
	if x.proxy.statistic("envoy.overload_actions.reset_high_memory_stream.count") < 1 {
		t.Error("no stream was reset: the flood did not reach the limit")
	}
	client := &http.Client{Timeout: 5 * time.Second}
	url := fmt.Sprintf("http://127.0.0.1:%d/", x.port)
	eventually(t, 10*time.Second, "an answer after the flood", answers(client, url, 200))
	for range 100 {
		expect(t, client, url, 200, "ok")
	}
	t.Logf("the Envoy has %d MiB after the flood", x.proxy.memory()>>20)
}

// limited is an Envoy in a cgroup of containerMemory, with a public port.
type limited struct {
	proxy *proxy
	port  uint16
}

// startUnderLimit starts an Envoy that is told of this limit, zero for none.
func startUnderLimit(t *testing.T, told int64) limited {
	t.Helper()
	x := limited{port: freePort(t)}
	app := startStalling(t)
	x.proxy = startProxy(t, ir.Proxy{
		ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: startAgent(t, "/api").socket, MemoryLimit: told,
		Inbound: []ir.Inbound{{Listen: x.port, App: app.port, TLS: ir.None, Limits: ir.DefaultLimits(ir.Inbound{TLS: ir.None})}},
	})
	limitMemory(t, x.proxy.command.Process.Pid, containerMemory)
	x.proxy.waitReady()
	return x
}

// floodedUntil asks for many answers and reads none. It returns what the Envoy has resident when all are asked for, or
// nothing when it has ended.
func floodedUntil(t *testing.T, x limited) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		// Small ones, so that it is Envoy that has to hold the rest.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 4 << 10, MaxReceiveBufferPerConnection: 64 << 10},
	}
	defer transport.CloseIdleConnections()
	transport.Protocols.SetUnencryptedHTTP2(true)
	var asking sync.WaitGroup
	var done atomic.Int64
	for i := range flood {
		if i%batch == 0 {
			x.look(ctx)
		}
		asking.Go(func() {
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/big", x.port), nil)
			response, err := transport.RoundTrip(request)
			done.Add(1)
			if err != nil {
				return
			}
			<-ctx.Done()
			response.Body.Close()
		})
	}
	defer asking.Wait()
	defer stop()
	process := x.proxy.command.Process.Pid
	for quiet := 0; quiet < 40; { // until nothing more is answered for two seconds
		time.Sleep(50 * time.Millisecond)
		before := done.Load()
		if _, err := resident(process); err != nil {
			return ""
		}
		if err := answers(&http.Client{Timeout: 5 * time.Second}, x.proxy.ready, 200)(); err != nil {
			if _, gone := resident(process); gone != nil {
				return ""
			}
			t.Errorf("readiness during the flood: %v", err)
		}
		quiet++
		if done.Load() != before {
			quiet = 0
		}
	}
	now, err := resident(process)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d requests are answered, the Envoy has %d MiB", done.Load(), now>>20)
}

// look waits until Envoy has had the time to see what it holds, which it does twenty times a second in the thread that
// answers for the admin interface, and to act on it in the thread that answers for readiness: on a busy machine the flood
// would be faster than any Envoy.
func (x limited) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	time.Sleep(50 * time.Millisecond)
	for _, url := range []string{x.proxy.admin + "/stats?filter=overload", x.proxy.ready} {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if response, err := http.DefaultClient.Do(request); err == nil { // one without a limit ends meanwhile
			response.Body.Close()
		}
	}
}
