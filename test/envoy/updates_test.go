package envoy

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/templates/verdict"
)

// updates asks as the injector does.
func (x *proxy) updates() templates.Updates {
	x.t.Helper()
	status, page, err := get(http.DefaultClient, strings.TrimSuffix(x.ready, templates.ReadinessPath)+templates.UpdatesPath)
	must(x.t, err)
	if status != http.StatusOK {
		x.t.Fatalf("got %d", status)
	}
	updates, err := templates.ParseUpdates([]byte(page))
	must(x.t, err)
	return updates
}

// judged waits for a verdict.
func (x *proxy) judged(before templates.Updates) verdict.Verdict {
	x.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v := verdict.Judge(before, x.updates()); v.Outcome != verdict.Pending || time.Now().After(deadline) {
			return v
		}
	}
}

// A page tells what Envoy made of its files: with all statistics kept as with few.
func TestUpdatesAreJudged(t *testing.T) {
	t.Parallel()
	for name, metrics := range map[string]bool{"all statistics": false, "few statistics": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := startAgent(t, "/api")
			p := apiProxy(t, agent, "/valid")
			if metrics {
				p.Metrics = ir.Metrics{Port: freePort(t), Include: []string{"server.live"}}
			}
			x := startProxy(t, p)
			x.waitReady()
			first := x.updates()
			if v := verdict.Standing(first); len(first) != 3 || v.Outcome != verdict.Taken {
				t.Errorf("after the start: %+v, %+v", v, first)
			}
			if v := verdict.Judge(first, first); v.Outcome != verdict.Pending {
				t.Errorf("before the change: %+v", v)
			}
			other := p
			other.Inbound = slices.Clone(p.Inbound)
			other.Inbound[0].Peers = peers(t, "/other")
			x.apply(other)
			if v := x.judged(first); v.Outcome != verdict.Taken {
				t.Errorf("a good change: %+v", v)
			}
			spoil := func(file, old, replacement string, wantFiles ...string) {
				t.Helper()
				time.Sleep(1100 * time.Millisecond) // since the last good one
				before := x.updates()
				x.applySpoilt(other, file, old, replacement)
				if v := x.judged(before); v.Outcome != verdict.Rejected || !slices.Equal(v.Files, wantFiles) {
					t.Errorf("%s: expected %v rejected, got %+v", file, wantFiles, v)
				}
				if v := verdict.Standing(x.updates()); v.Outcome != verdict.Rejected || !slices.Equal(v.Files, wantFiles) {
					t.Errorf("%s, at a look: expected %v rejected, got %+v of %+v", file, wantFiles, v, x.updates())
				}
				before = x.updates()
				x.apply(other)
				if v := x.judged(before); v.Outcome != verdict.Taken {
					t.Errorf("%s, mended: %+v", file, v)
				}
				if v := verdict.Standing(x.updates()); v.Outcome != verdict.Taken {
					t.Errorf("%s, mended, at a look: %+v", file, v)
				}
			}
			spoil(templates.ListenersFile, "statPrefix: ", "statPrefux: ", templates.ListenersFile)
			spoil(templates.ClustersFile, "127.0.0.1", "127.0.0", templates.ClustersFile)
			spoil(templates.AuthorizationFile, "principals: [", "principles: [", templates.AuthorizationFile)
			spoil(templates.ListenersFile, `{`, ``, templates.ListenersFile)
		})
	}
}

// applySpoilt puts files in force of which one has a fault.
func (x *proxy) applySpoilt(p ir.Proxy, file, old, replacement string) {
	x.t.Helper()
	x.applyWith(p, func(dir string) {
		path := filepath.Join(dir, file)
		content, err := os.ReadFile(path)
		must(x.t, err)
		if !bytes.Contains(content, []byte(old)) {
			x.t.Fatalf("%s has no %s: %s", file, old, content)
		}
		must(x.t, os.WriteFile(path, bytes.Replace(content, []byte(old), []byte(replacement), 1), 0o644))
	})
}

// The page is for reading, and only that page: no question and no method leads to another one of the admin interface.
func TestUpdatesAreTheOnlyPage(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	x := startProxy(t, apiProxy(t, agent, "/valid"))
	x.waitReady()
	base := strings.TrimSuffix(x.ready, templates.ReadinessPath)
	for _, path := range []string{"/updates/", "/updates?filter=.*", "/updates%3Ffilter=.*", "//updates", "/updates/../stats", "/stats", "/config_dump"} {
		expect(t, http.DefaultClient, base+path, 404, "")
	}
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPut, http.MethodOptions} {
		request, err := http.NewRequestWithContext(t.Context(), method, base+templates.UpdatesPath, nil)
		must(t, err)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", method, response.Status)
		}
	}
	_, page, err := get(http.DefaultClient, base+templates.UpdatesPath)
	must(t, err)
	if got := strings.Count(page, `"name"`); got != 12 {
		t.Errorf("expected four statistics of three files, got %d: %s", got, page)
	}
}

// What is right for every other Envoy may be refused by one: here by a port that another process has taken meanwhile.
func TestPortTakenIsARejection(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	x := startProxy(t, p)
	x.waitReady()
	port := fmt.Sprintf("0.0.0.0:%d", p.Inbound[0].Listen)
	x.applyWith(p, func(dir string) {
		must(t, os.WriteFile(filepath.Join(dir, templates.ListenersFile), []byte(`{"resources":[]}`), 0o644))
	})
	var taken net.Listener
	eventually(t, (templates.DrainSeconds+5)*time.Second, "the port free", func() (err error) {
		taken, err = net.Listen("tcp", port)
		return err
	})
	before := x.updates()
	x.apply(p)
	if v := x.judged(before); v.Outcome != verdict.Rejected || !slices.Equal(v.Files, []string{templates.ListenersFile}) {
		t.Errorf("expected the listeners rejected, got %+v", v)
	}
	taken.Close()
	before = x.updates()
	other := p
	other.Inbound = slices.Clone(p.Inbound)
	other.Inbound[0].Peers = peers(t, "/other")
	x.apply(other)
	if v := x.judged(before); v.Outcome != verdict.Taken {
		t.Errorf("when the port is free: %+v", v)
	}
}
