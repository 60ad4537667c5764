package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// Processor time varies with what else runs, the instructions of a program hardly. Valgrind counts them, outside of the
// kernel, while the program runs some fifty times as slowly: of one Envoy of a pair at a time.

const (
	warmingRequests = 100
	// earlyCertificates last for less than half of the TTL that proxies are told.
	earlyCertificates = lastingCertificates/2 - time.Hour
	slowStart         = 20 * time.Minute // of an Envoy in Valgrind on a busy machine
)

// instructionFigures are of requests one after the other, on connections that stay.
type instructionFigures struct {
	Valgrind string                `json:"valgrind"`
	Requests int                   `json:"requests"`
	Variants []instructionsVariant `json:"variants"`
}

// instructionsVariant has instructions for a request.
type instructionsVariant struct {
	Name   string `json:"name"`
	Caller int    `json:"caller"`
	Callee int    `json:"callee"`
	config makeConfig
}

// instructionsVariants are what is compared.
func instructionsVariants(lasting, early certificateFiles) []instructionsVariant {
	// A handshake in between would count for more than a hundred requests.
	stays := func(p *ir.Proxy) { p.Drain, p.SVIDTTL = 0, lastingCertificates }
	unbounded := func(p *ir.Proxy) { p.UnboundedStreams = true }
	return []instructionsVariant{
		{Name: "written by hand", config: handWrittenConfig(lasting, jsonLog)},
		{Name: "written by hand, with a line of text", config: handWrittenConfig(lasting, textLog)},
		{Name: "generated", config: generatedConfig(lasting, stays)},
		{Name: "generated, the caller's certificate ends early", config: generatedConfig(early, stays)},
		{Name: "generated, streams without bound", config: generatedConfig(lasting, stays, unbounded)},
	}
}

// countAll counts the instructions of all variants.
func countAll(
	ctx context.Context, s settings, free *standalone.Ports, envoy, dir string, app uint16, lasting certificateFiles,
) (*instructionFigures, error) {
	version, err := exec.CommandContext(ctx, "valgrind", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%w (on Debian: apt-get install valgrind)", err)
	}
	early, err := makeCertificates(filepath.Join(dir, "early"), earlyCertificates)
	if err != nil {
		return nil, err
	}
	figures := &instructionFigures{Valgrind: strings.TrimSpace(string(version)), Requests: s.instructions}
	for i, v := range instructionsVariants(lasting, early) {
		for callee, into := range map[bool]*int{false: &v.Caller, true: &v.Callee} {
			folder := filepath.Join(dir, fmt.Sprintf("instructions-%d-%t", i, callee))
			if *into, err = countInstructions(ctx, free, envoy, folder, app, v.config, callee, s.instructions); err != nil {
				return nil, fmt.Errorf("instructions, %s: %w", v.Name, err)
			}
		}
		fmt.Fprintf(s.progress, "%s: %d and %d thousand instructions\n", v.Name, v.Caller/1000, v.Callee/1000)
		figures.Variants = append(figures.Variants, v)
	}
	return figures, nil
}

// countInstructions starts a pair with one side in Valgrind and returns its worker's instructions for a request. What it
// does meanwhile without requests is taken off.
func countInstructions(
	ctx context.Context, free *standalone.Ports, envoy, dir string, app uint16, config makeConfig, callee bool, requests int,
) (int, error) {
	valgrind := []string{"valgrind", "--tool=callgrind", "--separate-threads=yes", "--callgrind-out-file=" + filepath.Join(dir, "counts"), envoy}
	program := func(of bool) []string {
		if of == callee {
			return valgrind
		}
		return []string{envoy}
	}
	pair, err := startPair(ctx, free, pairStart{dir: dir, app: app, config: config, program: program, patience: slowStart})
	if err != nil {
		return 0, err
	}
	defer pair.stop()
	counted := pair.caller
	if callee {
		counted = pair.callee
	}
	if err := askTimes(pair.url(), warmingRequests); err != nil {
		return 0, err
	}
	count := counter{pid: counted.PID(), dir: dir}
	if _, err := count.next(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := askTimes(pair.url(), requests); err != nil {
		return 0, err
	}
	took := time.Since(began)
	busy, err := count.next(ctx)
	if err != nil {
		return 0, err
	}
	time.Sleep(took)
	idle, err := count.next(ctx)
	return ofWorker(busy, idle) / requests, err
}

// counter reads what each thread of a program in Valgrind has done since it was last asked.
type counter struct {
	pid int
	dir string
	n   int
}

var totalInstructions = regexp.MustCompile(`(?m)^totals: (\d+)$`)

func (c *counter) next(ctx context.Context) (map[string]int, error) {
	c.n++
	if out, err := exec.CommandContext(ctx, "vgdb", fmt.Sprintf("--pid=%d", c.pid), "dump").CombinedOutput(); err != nil { //nolint:gosec // a number
		return nil, fmt.Errorf("asking Valgrind: %w\n%s", err, out)
	}
	counts := map[string]int{}
	prefix := filepath.Join(c.dir, fmt.Sprintf("counts.%d-", c.n))
	files, err := filepath.Glob(prefix + "*")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		match := totalInstructions.FindSubmatch(text)
		if match == nil {
			return nil, fmt.Errorf("%s: expected a line with totals from Valgrind, found none", file)
		}
		if counts[strings.TrimPrefix(file, prefix)], err = strconv.Atoi(string(match[1])); err != nil {
			return nil, err
		}
	}
	return counts, err
}

// ofWorker are the instructions of the thread that did most: Envoy's only worker, which does all that a request needs.
// Other threads work at times of their own, for instance for the overload manager.
func ofWorker(busy, idle map[string]int) int {
	most := 0
	for thread, count := range busy {
		most = max(most, count-idle[thread])
	}
	return most
}

// askTimes asks one after the other on one connection.
func askTimes(url string, times int) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	for range times {
		if err := askOnce(client, url); err != nil {
			return err
		}
	}
	return nil
}

func printInstructions(t io.Writer, f instructionFigures) {
	title(t, fmt.Sprintf("Thousands of instructions for a request, outside of the kernel, of %d on connections that stay (%s)", f.Requests, f.Valgrind))
	row(t, "configuration", "caller's Envoy", "callee's Envoy")
	for _, v := range f.Variants {
		row(t, v.Name, v.Caller/1000, v.Callee/1000)
	}
}
