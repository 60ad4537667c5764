package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/netns"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// proxy is a running Envoy whose files are replaced as the kubelet does it.
type proxy struct {
	t   *testing.T
	dir string
	// certificate is where a Secret's files are, if any are.
	certificate string
	version     int
	replace     *strings.Replacer
	ready       string
	hookPort    uint16
	admin       string
	out         *command.Output
	command     *exec.Cmd
	client      *http.Client // reaches its fixed ports
}

// startProxy starts Envoy with the generated command line and files. Only the directory and the two fixed
// ports are moved, because several share this machine. Each of spoil may change the files before the start.
func startProxy(t *testing.T, p ir.Proxy, spoil ...func(dir string)) *proxy {
	t.Helper()
	return startProxyIn(t, nil, p, spoil...)
}

// startProxyIn starts it in another network, if one is given.
func startProxyIn(t *testing.T, in *netns.Network, p ir.Proxy, spoil ...func(dir string)) *proxy {
	t.Helper()
	admin, ready, hooks := freePort(t), freePort(t), freePort(t)
	dir := t.TempDir()
	x := &proxy{
		t: t, dir: dir, out: &command.Output{}, client: clientIn(in),
		certificate: filepath.Join(dir, "certificate"),
		replace: strings.NewReplacer(
			templates.CertificateDir, filepath.Join(dir, "certificate"),
			templates.CADir, filepath.Join(dir, caFolder),
			templates.SystemCAFile, filepath.Join(dir, systemCAs),
			templates.ConfigDir, dir,
			templates.JWTDir, filepath.Join(dir, jwtFolder),
			fmt.Sprintf(": %d", ir.AdminPort), fmt.Sprintf(": %d", admin),
			fmt.Sprintf(": %d", ir.ReadinessPort), fmt.Sprintf(": %d", ready),
			fmt.Sprintf(": %d", ir.HookPort), fmt.Sprintf(": %d", hooks),
		),
		hookPort: hooks,
		admin:    fmt.Sprintf("http://127.0.0.1:%d", admin),
		ready:    fmt.Sprintf("http://127.0.0.1:%d/ready", ready),
	}
	must(t, os.Mkdir(filepath.Join(dir, jwtFolder), 0o755))
	x.apply(p)
	for _, change := range spoil {
		change(filepath.Join(dir, "..data"))
	}
	args := append(templates.Args("warning", 1), templates.PodIPArgs(p)...)
	for i := range args {
		args[i] = x.replace.Replace(args[i])
		if variable := "$(" + templates.PodIPVariable + ")"; strings.Contains(args[i], variable) {
			args[i] = strings.ReplaceAll(args[i], variable, ownAddress(t))
		}
	}
	x.command = exec.Command(envoyPath, args...)
	x.command.Stdout, x.command.Stderr = x.out, x.out
	x.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, in.Do(x.command.Start))
	t.Cleanup(func() {
		x.command.Process.Kill()
		x.command.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.ID, x.out)
		}
	})
	return x
}

// apply writes the files into a new directory and swaps the symbolic link "..data" to it.
func (x *proxy) apply(p ir.Proxy) {
	x.t.Helper()
	x.applyWith(p, func(string) {})
}

// applyWith is apply with a change of the files before they are in force.
func (x *proxy) applyWith(p ir.Proxy, change func(dir string)) {
	x.t.Helper()
	config, err := templates.Generate(p)
	if err != nil {
		x.t.Fatal(err)
	}
	x.version++
	next := fmt.Sprintf("..%d", x.version)
	must(x.t, os.Mkdir(filepath.Join(x.dir, next), 0o755))
	files := map[string]string{
		templates.BootstrapFile: config.Bootstrap, templates.ListenersFile: config.Listeners,
		templates.ClustersFile: config.Clusters, templates.AuthorizationFile: config.Authorization, templates.CertificateFile: config.Certificate,
	}
	for n, content := range config.CAs {
		files[templates.CAFile(n)] = content
	}
	for name, content := range files {
		must(x.t, os.WriteFile(filepath.Join(x.dir, next, name), []byte(x.replace.Replace(content)), 0o644))
		if x.version == 1 {
			must(x.t, os.Symlink(filepath.Join("..data", name), filepath.Join(x.dir, name)))
		}
	}
	change(filepath.Join(x.dir, next))
	must(x.t, os.Symlink(next, filepath.Join(x.dir, "..data_tmp")))
	must(x.t, os.Rename(filepath.Join(x.dir, "..data_tmp"), filepath.Join(x.dir, "..data")))
}

// waitReady returns how long GET /ready took to say 200.
func (x *proxy) waitReady() time.Duration {
	x.t.Helper()
	return eventually(x.t, 30*time.Second, "readiness of Envoy", func() error {
		response, err := x.client.Get(x.ready)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("got %s", response.Status)
		}
		return nil
	})
}

// waitEvent waits for a line of the access log of this kind whose fields contain the given texts.
func (x *proxy) waitEvent(kind string, fields map[string]string) {
	x.t.Helper()
	eventually(x.t, 3*time.Second, fmt.Sprintf("a line %q with %v", kind, fields), func() error {
		for _, event := range x.events(kind) {
			if containsAll(event, fields) {
				return nil
			}
		}
		return errors.New("no such line")
	})
}

// events are the lines of the access log, of one kind or of all.
func (x *proxy) events(kind string) []map[string]any {
	var out []map[string]any
	for line := range strings.Lines(x.out.String()) {
		event := map[string]any{}
		if json.Unmarshal([]byte(line), &event) == nil && event["event"] != nil && (kind == "" || event["event"] == kind) {
			out = append(out, event)
		}
	}
	return out
}

// statistic is a counter or gauge of Envoy, or -1 when there is none of that name.
func (x *proxy) statistic(name string) int {
	x.t.Helper()
	_, body, err := get(x.client, x.admin+"/stats?filter=^"+regexp.QuoteMeta(name)+"$")
	must(x.t, err)
	value := -1
	if _, text, ok := strings.Cut(body, ": "); ok {
		value, err = strconv.Atoi(strings.TrimSpace(text))
		must(x.t, err)
	}
	return value
}

func containsAll(event map[string]any, fields map[string]string) bool {
	for key, want := range fields {
		if got, ok := event[key]; !ok || !strings.Contains(fmt.Sprint(got), want) {
			return false
		}
	}
	return true
}

func id(path string) spiffeid.ID { return spiffeid.RequireFromPath(trustDomain, path) }

func peers(t *testing.T, names ...string) []ir.Peer {
	t.Helper()
	var out []ir.Peer
	for _, name := range names {
		peer, err := ir.ParsePeer(trustDomain, []spiffeid.TrustDomain{auxiliary}, name)
		must(t, err)
		out = append(out, peer)
	}
	return out
}

func address(t *testing.T, port uint16) ir.Address {
	t.Helper()
	out, err := ir.ParseAddress(fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	return out
}

func match(t *testing.T, text string) ir.Match {
	t.Helper()
	out, err := ir.ParseMatch(text)
	must(t, err)
	return out
}

// ports are those of the tests: none is given out twice.
var ports standalone.Ports

func freePort(t *testing.T) uint16 {
	t.Helper()
	port, err := ports.Free(t.Context())
	must(t, err)
	return port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks every 10 ms until it gets no error, and returns how long that took.
func eventually(t *testing.T, limit time.Duration, what string, ask func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := ask()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// get returns status and body.
func get(client *http.Client, url string) (int, string, error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
