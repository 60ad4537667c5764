package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// proxyPair are a caller's and a callee's Envoy, on this machine and without a cluster, before one app.
type proxyPair struct {
	caller, callee *standalone.Process
	upstream       uint16 // where the caller's app calls
}

// proxyPorts are those of a pair.
type proxyPorts struct{ app, inbound, upstream, callerReady, calleeReady, callerAdmin, calleeAdmin uint16 }

// makeConfig writes an Envoy's files into a folder and returns its command line.
type makeConfig func(dir string, ports proxyPorts, callee bool) (args []string, err error)

// pairStart is how a pair is started.
type pairStart struct {
	dir    string
	app    uint16
	config makeConfig
	// program is what runs one of both, before the arguments of its configuration.
	program  func(callee bool) []string
	patience time.Duration // until an answer has come through both
}

func startPair(ctx context.Context, free *standalone.Ports, start pairStart) (*proxyPair, error) {
	ports := proxyPorts{app: start.app}
	for _, port := range []*uint16{
		&ports.inbound, &ports.upstream, &ports.callerReady, &ports.calleeReady, &ports.callerAdmin, &ports.calleeAdmin,
	} {
		var err error
		if *port, err = free.Free(ctx); err != nil {
			return nil, err
		}
	}
	pair := &proxyPair{upstream: ports.upstream}
	for _, side := range []struct {
		name   string
		callee bool
		into   **standalone.Process
	}{{"callee", true, &pair.callee}, {"caller", false, &pair.caller}} {
		folder := filepath.Join(start.dir, side.name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		args, err := start.config(folder, ports, side.callee)
		if err == nil {
			command := append(start.program(side.callee), args...)
			*side.into, err = standalone.Start(command[0], command[1:]...)
		}
		if err != nil {
			pair.stop()
			return nil, err
		}
	}
	if err := pair.waitAnswer(start.patience); err != nil {
		pair.stop()
		return nil, err
	}
	return pair, nil
}

// runs is both sides run by one program.
func runs(program string) func(bool) []string {
	return func(bool) []string { return []string{program} }
}

func (p *proxyPair) stop() {
	for _, process := range []*standalone.Process{p.caller, p.callee} {
		if process != nil {
			process.Stop()
		}
	}
}

func (p *proxyPair) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", p.upstream) }

// waitAnswer waits until a request has come through both.
func (p *proxyPair) waitAnswer(patience time.Duration) error {
	var last error
	for began := time.Now(); time.Since(began) < patience; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(p.url()) //nolint:noctx // it ends by itself
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		last = err
	}
	return fmt.Errorf("no answer through both Envoys: %w\n%s\n%s", last, p.callee.Out, p.caller.Out)
}

// generatedConfig is what a pod gets, with certificates from files in the place of the agent's, after changes.
func generatedConfig(certificates certificateFiles, changes ...func(*ir.Proxy)) makeConfig {
	return func(dir string, ports proxyPorts, callee bool) ([]string, error) {
		proxy, admin, ready, err := benchProxy(ports, callee)
		if err != nil {
			return nil, err
		}
		proxy.JSONFiles = true
		for _, change := range changes {
			change(&proxy)
		}
		config, err := templates.Generate(proxy)
		if err != nil {
			return nil, err
		}
		move := strings.NewReplacer(
			templates.ConfigDir, dir,
			templates.BootstrapFile, templates.JSONFile(templates.BootstrapFile),
			fmt.Sprintf(`"port_value":%d`, ir.AdminPort), fmt.Sprintf(`"port_value":%d`, admin),
			fmt.Sprintf(`"port_value":%d`, ir.ReadinessPort), fmt.Sprintf(`"port_value":%d`, ready),
		)
		for name, content := range map[string]string{
			templates.JSONFile(templates.BootstrapFile):     config.Bootstrap,
			templates.JSONFile(templates.ListenersFile):     config.Listeners,
			templates.JSONFile(templates.ClustersFile):      config.Clusters,
			templates.JSONFile(templates.AuthorizationFile): config.Authorization,
		} {
			content, err := certificates.inPlaceOfAgent(move.Replace(content))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				return nil, err
			}
		}
		args := templates.Args("error", 1)
		for i := range args {
			args[i] = move.Replace(args[i])
		}
		return args, nil
	}
}

// benchProxy is an API or its caller, as the platform of the demo would have them.
func benchProxy(ports proxyPorts, callee bool) (proxy ir.Proxy, admin, ready uint16, err error) {
	own, other := "/api", "/web"
	if !callee {
		own, other = other, own
	}
	peer, err := ir.ParsePeer(benchDomain, nil, other)
	if err != nil {
		return ir.Proxy{}, 0, 0, err
	}
	proxy = ir.Proxy{
		ID:          spiffeid.RequireFromPath(benchDomain, own),
		SVIDTTL:     time.Hour,
		AgentSocket: "/run/unused.sock",
		Drain:       10 * time.Second,
		MemoryLimit: 256 << 20,
	}
	if callee {
		proxy.Inbound = []ir.Inbound{{Listen: ports.inbound, App: ports.app, Peers: []ir.Peer{peer}}}
		return proxy, ports.calleeAdmin, ports.calleeReady, nil
	}
	address, err := ir.ParseAddress(fmt.Sprintf("127.0.0.1:%d", ports.inbound))
	proxy.Upstreams = []ir.Upstream{{Listen: ports.upstream, Address: address, Peers: []ir.Peer{peer}}}
	return proxy, ports.callerAdmin, ports.callerReady, err
}

// inPlaceOfAgent makes every secret of a configuration come from its file.
func (c certificateFiles) inPlaceOfAgent(config string) ([]byte, error) {
	var document any
	if err := json.Unmarshal([]byte(config), &document); err != nil {
		return nil, err
	}
	c.replace(document)
	return json.Marshal(document)
}

func (c certificateFiles) replace(value any) {
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			c.replace(inner)
		}
	case map[string]any:
		if name, ok := value["name"].(string); ok && value["sds_config"] != nil {
			value["sds_config"] = map[string]any{"path_config_source": map[string]any{"path": c.secretOf(name)}}
		}
		for _, inner := range value {
			c.replace(inner)
		}
	}
}
