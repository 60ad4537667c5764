package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

const (
	proxyCallers  = 8 // connections that ask one request after the other
	slowReaders   = 300
	unreadUploads = 200
	bigBody       = 16 << 20

	lastingCertificates = 24 * time.Hour
)

// proxyFigures compare the generated configuration with one that is written by hand, in one run.
type proxyFigures struct {
	Variants     []proxyVariant      `json:"variants"`
	Instructions *instructionFigures `json:"instructions,omitempty"`
}

// proxyVariant is one of both. Memory is what the kernel has resident, the most that was seen.
type proxyVariant struct {
	Name       string  `json:"name"`
	Requests   int     `json:"requests"`
	P50        seconds `json:"p50"`
	P99        seconds `json:"p99"`
	CPU        seconds `json:"cpuPerRequest"` // of both Envoys
	Reading    [2]int  `json:"slowReaders"`   // bytes of the caller's and the callee's Envoy
	Uploading  [2]int  `json:"unreadUploads"`
	latencies  []seconds
	processing time.Duration
	config     makeConfig
}

// measureProxy takes turns between both configurations, so that a busy machine is unfair to none.
func measureProxy(ctx context.Context, s settings, _ *cluster, r *report) error {
	envoy, dir, certificates, err := prepareProxy(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	app, err := startBenchApp()
	if err != nil {
		return err
	}
	defer app.close()
	var free standalone.Ports
	variants := []*proxyVariant{
		{Name: "generated", config: generatedConfig(certificates)},
		{Name: "written by hand", config: handWrittenConfig(certificates, jsonLog)},
		{Name: "… with a line of text", config: handWrittenConfig(certificates, textLog)},
	}
	start := func(name string, v *proxyVariant) (*proxyPair, error) {
		return startPair(ctx, &free, pairStart{
			dir: filepath.Join(dir, name), app: app.port, config: v.config, program: runs(envoy), patience: time.Minute,
		})
	}
	for i := range s.rounds * len(variants) {
		v := variants[(i+i/len(variants))%len(variants)] // who is first changes from round to round
		pair, err := start(fmt.Sprint(i), v)
		if err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		err = v.load(ctx, pair, s.load)
		pair.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	r.Proxy = &proxyFigures{}
	for i, v := range variants {
		v.Requests, v.P50, v.P99 = len(v.latencies), median(v.latencies), quantile(v.latencies, 0.99)
		v.CPU = seconds(v.processing / time.Duration(max(len(v.latencies), 1)))
		for name, measured := range map[string]*[2]int{"/big": &v.Reading, "/unread": &v.Uploading} {
			pair, err := start(fmt.Sprint("memory", i, name[1:]), v)
			if err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
			*measured, err = app.stalled(pair, name)
			pair.stop()
			if err != nil {
				return fmt.Errorf("%s, %s: %w", v.Name, name, err)
			}
		}
		r.Proxy.Variants = append(r.Proxy.Variants, *v)
	}
	if s.instructions > 0 {
		r.Proxy.Instructions, err = countAll(ctx, s, &free, envoy, dir, app.port, certificates)
	}
	return err
}

// prepareProxy returns an Envoy, and a folder with certificates that last.
func prepareProxy(ctx context.Context) (envoy, dir string, certificates certificateFiles, err error) {
	if envoy, err = parts.EnvoyProgram(ctx, os.Stderr); err != nil {
		return "", "", "", err
	}
	if dir, err = os.MkdirTemp("", "bench"); err != nil {
		return "", "", "", err
	}
	certificates, err = makeCertificates(dir, lastingCertificates)
	return envoy, dir, certificates, err
}

// load asks for a while, and adds what it saw to the variant's figures.
func (v *proxyVariant) load(ctx context.Context, pair *proxyPair, lasts time.Duration) error {
	warm, cancel := context.WithTimeout(ctx, lasts/5)
	defer cancel()
	if _, err := askUntil(warm, pair.url()); err != nil {
		return err
	}
	before, err := pair.processorTime()
	if err != nil {
		return err
	}
	measured, stop := context.WithTimeout(ctx, lasts)
	defer stop()
	latencies, err := askUntil(measured, pair.url())
	if err != nil {
		return err
	}
	after, err := pair.processorTime()
	v.latencies = append(v.latencies, latencies...)
	v.processing += after - before
	return err
}

// askUntil returns how long each answer took.
func askUntil(ctx context.Context, url string) ([]seconds, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: proxyCallers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var mu sync.Mutex
	var all []seconds
	var errs []error
	var asking sync.WaitGroup
	for range proxyCallers {
		asking.Go(func() {
			var own []seconds
			var err error
			for ctx.Err() == nil && err == nil {
				began := time.Now()
				if err = askOnce(client, url); err == nil {
					own = append(own, seconds(time.Since(began)))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, own...), append(errs, err)
		})
	}
	asking.Wait()
	return all, errors.Join(errs...)
}

func askOnce(client *http.Client, url string) error {
	response, err := client.Get(url) //nolint:noctx // it ends by itself
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// processorTime is what both Envoys have taken since they started.
func (p *proxyPair) processorTime() (time.Duration, error) {
	caller, err := processorTimeOf(p.caller.PID())
	if err != nil {
		return 0, err
	}
	callee, err := processorTimeOf(p.callee.PID())
	return caller + callee, err
}

// processorTimeOf is what a process of this machine has taken.
func processorTimeOf(pid int) (time.Duration, error) {
	return processorTime([]string{fmt.Sprintf("/proc/%d", pid)})
}

// benchApp answers 1 KiB; GET /big 16 MiB; and POST /unread never, without reading.
type benchApp struct {
	port  uint16
	begun atomic.Int64
	close func()
}

func startBenchApp() (*benchApp, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("expected a TCP address, got %s", listener.Addr())
	}
	app := &benchApp{port: uint16(address.Port)} //nolint:gosec // a port
	small, big := make([]byte, 1<<10), make([]byte, bigBody)
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			app.begun.Add(1)
			_, _ = w.Write(big)
		case "/unread":
			app.begun.Add(1)
			<-r.Context().Done()
		default:
			_, _ = w.Write(small)
		}
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(handler)}
	app.close = func() { _ = server.Close() }
	go func() { _ = server.Serve(listener) }()
	return app, nil
}

// stalled begins requests that nobody reads and returns the most memory that both Envoys have until it grows no more.
func (app *benchApp) stalled(pair *proxyPair, path string) (memory [2]int, err error) {
	head, body, n := "GET /big HTTP/1.1\r\nHost: api\r\n\r\n", 0, slowReaders
	if path == "/unread" {
		body, n = bigBody, unreadUploads
		head = fmt.Sprintf("POST /unread HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n", body)
	}
	app.begun.Store(0)
	for range n {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", pair.upstream)) //nolint:noctx // on this machine
		if err != nil {
			return memory, err
		}
		defer func() { _ = connection.Close() }()
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4096) // so that it is Envoy that has to hold the rest
		}
		go func() {
			_, _ = io.WriteString(connection, head)
			_, _ = connection.Write(make([]byte, body))
		}()
	}
	began := time.Now()
	for steady := 0; steady < 40; steady++ {
		time.Sleep(100 * time.Millisecond)
		if time.Since(began) > 2*time.Minute {
			return memory, fmt.Errorf("%d of %d requests have reached the app", app.begun.Load(), n)
		}
		if int(app.begun.Load()) < n {
			steady = 0
		}
		for i, pid := range []int{pair.caller.PID(), pair.callee.PID()} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				return memory, err
			}
			if now := kibibytes(string(text), "VmRSS") << 10; now > memory[i] {
				if now > memory[i]+1<<20 {
					steady = 0
				}
				memory[i] = now
			}
		}
	}
	return memory, nil
}

func printProxy(t io.Writer, f proxyFigures) {
	defer func() {
		if f.Instructions != nil {
			printInstructions(t, *f.Instructions)
		}
	}()
	title(t, "Two Envoys between an app and its caller: the generated configuration and one that is written by hand")
	row(t, "configuration", "requests", "p50 ms", "p99 ms", "CPU µs per request",
		fmt.Sprintf("MiB at %d slow readers", slowReaders), fmt.Sprintf("MiB at %d unread uploads", unreadUploads))
	for _, v := range f.Variants {
		row(t, v.Name, v.Requests, fmt.Sprintf("%.2f", 1000*inSeconds(v.P50)), fmt.Sprintf("%.2f", 1000*inSeconds(v.P99)),
			fmt.Sprintf("%.0f", 1e6*inSeconds(v.CPU)), mebibytes(v.Reading[0])+" and "+mebibytes(v.Reading[1]),
			mebibytes(v.Uploading[0])+" and "+mebibytes(v.Uploading[1]))
	}
}
