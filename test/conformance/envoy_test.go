package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// patience bounds what must happen; nothing is expected to take this long.
const patience = 20 * time.Second

// proxy is a running Envoy.
type proxy struct {
	*standalone.Process
	admin, ready uint16
}

// startProxy runs Envoy as /path of our trust domain with the generated command line and files, and returns when it is
// ready. Of the configuration only the directory and the two fixed ports are moved, because several Envoys share this
// machine.
func startProxy(t *testing.T, path string, p ir.Proxy) *proxy {
	t.Helper()
	return shared.startProxy(t, path, p, "")
}

// startProxy is the same for other trust domains than those that all tests share. What the program beside Envoy writes
// is in tokens.
func (s *spire) startProxy(t *testing.T, path string, p ir.Proxy, tokens string) *proxy {
	t.Helper()
	p.ID, p.AgentSocket = spiffeid.RequireFromPath(s.own.Domain, path), s.socket
	if p.SVIDTTL == 0 {
		p.SVIDTTL = time.Hour
	}
	config, err := templates.Generate(p)
	must(t, err)
	x := &proxy{admin: port(t), ready: port(t)}
	dir := t.TempDir()
	move := strings.NewReplacer(
		templates.ConfigDir, dir,
		templates.JWTDir, tokens,
		fmt.Sprintf(": %d", ir.AdminPort), fmt.Sprintf(": %d", x.admin),
		fmt.Sprintf(": %d", ir.ReadinessPort), fmt.Sprintf(": %d", x.ready),
	)
	for name, content := range map[string]string{
		templates.BootstrapFile: config.Bootstrap, templates.ListenersFile: config.Listeners,
		templates.ClustersFile: config.Clusters, templates.AuthorizationFile: config.Authorization,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(move.Replace(content)), 0o600))
	}
	args := templates.Args("warning", 1)
	for i := range args {
		args[i] = move.Replace(args[i])
	}
	x.Process, err = standalone.Start(s.envoys[path], args...)
	must(t, err)
	t.Cleanup(func() {
		x.Stop()
		if t.Failed() {
			t.Logf("output of Envoy %s:\n%s", path, x.Out)
		}
	})
	eventually(t, "readiness of Envoy "+path, func() error {
		if !x.Running() {
			return errors.New("it has ended")
		}
		response, err := http.Get(httpURL(x.ready, templates.ReadinessPath))
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	return x
}

// event waits for the first line of the access log in which all these fields have these values.
func (x *proxy) event(t *testing.T, fields map[string]string) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, fmt.Sprintf("a line of the access log with %v", fields), func() error {
		all := x.events(fields)
		if len(all) == 0 {
			return errors.New("no such line")
		}
		found = all[0]
		return nil
	})
	return found
}

// events are the lines of the access log with some fields, the earliest first.
func (x *proxy) events(fields map[string]string) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(x.Out.String()) {
		var found map[string]any
		if json.Unmarshal([]byte(line), &found) == nil && has(found, fields) {
			all = append(all, found)
		}
	}
	return all
}

func has(event map[string]any, fields map[string]string) bool {
	for key, want := range fields {
		if got, ok := event[key]; !ok || fmt.Sprint(got) != want {
			return false
		}
	}
	return true
}

// peers are as annotations name them.
func peers(t *testing.T, names ...string) []ir.Peer {
	t.Helper()
	var out []ir.Peer
	for _, name := range names {
		peer, err := ir.ParsePeer(shared.own.Domain, []spiffeid.TrustDomain{shared.partner.Domain}, name)
		must(t, err)
		out = append(out, peer)
	}
	return out
}

func address(t *testing.T, port uint16) ir.Address {
	t.Helper()
	out, err := ir.ParseAddress(local(port))
	must(t, err)
	return out
}

func local(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func httpURL(port uint16, path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", port, path)
}

func port(t *testing.T) uint16 {
	t.Helper()
	out, err := ports.Free(t.Context())
	must(t, err)
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks every 10 ms until it gets no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
