package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/command"
)

// startWithoutRights starts Envoy as it runs in a pod: without capabilities, in a network of its own with this value of
// net.ipv4.ip_unprivileged_port_start.
func startWithoutRights(t *testing.T, p ir.Proxy, portStart string) (*exec.Cmd, *command.Output) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("takes root, for a network of its own")
	}
	config, err := templates.Generate(p)
	must(t, err)
	dir := t.TempDir()
	for name, content := range map[string]string{
		templates.BootstrapFile: config.Bootstrap, templates.ListenersFile: config.Listeners,
		templates.ClustersFile: config.Clusters, templates.AuthorizationFile: config.Authorization,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, templates.ConfigDir, dir)), 0o644))
	}
	args := templates.Args("warning", 1)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], templates.ConfigDir, dir)
	}
	const script = `echo "$1" > /proc/sys/net/ipv4/ip_unprivileged_port_start && shift &&
		exec setpriv --inh-caps -all --bounding-set -all "$@"`
	all := append([]string{"--net", "sh", "-ec", script, "sh", portStart, envoyPath}, args...)
	out := &command.Output{}
	envoy := exec.Command("unshare", all...)
	envoy.Stdout, envoy.Stderr = out, out
	must(t, envoy.Start())
	t.Cleanup(func() {
		envoy.Process.Kill()
		envoy.Wait()
		if t.Failed() {
			t.Logf("output of Envoy:\n%s", out)
		}
	})
	return envoy, out
}

// TestPortsBelow1024: with the setting that the pod is given, Envoy binds them without capabilities; with the kernel's own it
// does not.
func TestPortsBelow1024(t *testing.T) {
	t.Parallel()
	proxy := func() ir.Proxy {
		p := apiProxy(t, startAgent(t, "/api"), "/valid")
		p.Inbound[0].Listen = 443
		return p
	}
	envoy, _ := startWithoutRights(t, proxy(), "0")
	eventually(t, 20*time.Second, "port 443", func() error {
		sockets, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", envoy.Process.Pid))
		if err == nil && !strings.Contains(string(sockets), "00000000:01BB 00000000:0000 0A") {
			err = errors.New("nobody listens")
		}
		return err
	})
	_, out := startWithoutRights(t, proxy(), "1024")
	eventually(t, 20*time.Second, "the denial", func() error {
		if !strings.Contains(out.String(), "cannot bind '0.0.0.0:443': Permission denied") {
			return errors.New("Envoy does not say so")
		}
		return nil
	})
}
