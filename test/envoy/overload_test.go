package envoy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	if x.proxy.statistic("envoy.overload_actions.reset_high_memory_stream.count") == 0 {
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

// limitMemory puts a process into a cgroup that may have so much memory, and no swap.
func limitMemory(t *testing.T, pid int, bytes int64) {
	t.Helper()
	root, files := "/sys/fs/cgroup/memory", []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
	value := []string{strconv.FormatInt(bytes, 10), strconv.FormatInt(bytes, 10)}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, files, value[1] = "/sys/fs/cgroup", []string{"memory.max", "memory.swap.max"}, "0"
		delegateMemory(t, root)
	}
	group := filepath.Join(root, fmt.Sprintf("spire-injector-test-%d", pid))
	must(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		eventually(t, 10*time.Second, "the end of a cgroup", func() error {
			if err := os.Remove(group); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		})
	})
	for i, file := range files {
		err := os.WriteFile(filepath.Join(group, file), []byte(value[i]), 0o644)
		if i == 1 && errors.Is(err, os.ErrNotExist) || i == 1 && errors.Is(err, os.ErrPermission) {
			continue // the kernel does not count swap
		}
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644))
}

// delegateMemory lets cgroups below the root of version 2 limit memory. In a container that root has processes, which
// have to go into a group of their own before.
func delegateMemory(t *testing.T, root string) {
	t.Helper()
	delegate := func() error {
		return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0o644)
	}
	err := delegate()
	if errors.Is(err, syscall.EBUSY) {
		own := filepath.Join(root, "spire-injector-test")
		must(t, os.MkdirAll(own, 0o755))
		processes, readErr := os.ReadFile(filepath.Join(root, "cgroup.procs"))
		must(t, readErr)
		for _, process := range strings.Fields(string(processes)) {
			_ = os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte(process), 0o644) // it may have ended
		}
		err = delegate()
	}
	must(t, err)
}
