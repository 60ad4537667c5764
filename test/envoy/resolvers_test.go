package envoy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// scripts are what interpreters are given before URLs.
var scripts = map[parts.Interpreter][]string{
	parts.Python: {"-c", `import sys, urllib.request
for url in sys.argv[1:]: print(urllib.request.urlopen(url).headers["Saw-Host"])`},
	parts.Curl: {"-sS", "-w", "%header{saw-host}\n"},
	parts.Node: {"-e", `(async () => { for (const url of process.argv.slice(1))
		await new Promise(done => require("http").get(url, r => { r.resume(); console.log(r.headers["saw-host"]); done() })) })()`},
}

// resolvers are commands that look names up in their own ways, call the URLs that are their further arguments, and
// print a line with the Host that the callee saw of each. One of them is of musl, the C library of many containers.
func resolvers(t *testing.T) map[string][]string {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	musl, err := parts.EnsureMusl(t.Context(), cache, os.Stderr)
	must(t, err)
	withMusl := filepath.Join(t.TempDir(), "call")
	must(t, musl.Compile(t.Context(), "testdata/call.c", withMusl))
	java, err := parts.EnsureJava(t.Context(), cache, os.Stderr)
	must(t, err)
	all := map[string][]string{
		"musl": {withMusl},
		"java": {filepath.Join(java.Tree, java.Program), "-XX:TieredStopAtLevel=1", "testdata/Call.java"},
	}
	for interpreter, script := range scripts {
		run, err := parts.EnsureInterpreter(t.Context(), cache, interpreter, os.Stderr)
		must(t, err)
		all[string(interpreter)] = append(run, script...)
	}
	return all
}

// callByResolvers calls a name, in all spellings, with a table of hosts as the kubelet writes it, and without a DNS
// server.
func callByResolvers(t *testing.T, hosts []ir.NamedHost, name string, port uint16) {
	dir := t.TempDir()
	var table strings.Builder
	table.WriteString("127.0.0.1\tlocalhost\n")
	var spellings []string
	for _, host := range hosts {
		table.WriteString(host.IP + "\t" + strings.Join(host.Name.Spellings(), "\t") + "\n")
		if slices.Contains(host.Name.Spellings(), name) {
			spellings = host.Name.Spellings()
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "hosts"), []byte(table.String()), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644))
	var urls []string
	want := ""
	for _, spelling := range spellings {
		host := fmt.Sprintf("%s:%d", spelling, port)
		urls, want = append(urls, "http://"+host+"/"), want+host+"\n"
	}
	const script = `mount --bind "$1/hosts" /etc/hosts; mount --bind "$1/resolv.conf" /etc/resolv.conf; shift; exec "$@"`
	unshare := []string{"--mount"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	for what, command := range resolvers(t) {
		out, err := exec.CommandContext(t.Context(), "unshare",
			slices.Concat(unshare, []string{"sh", "-ec", script, "sh", dir}, command, urls)...).CombinedOutput()
		if got := string(out); err != nil || got != want {
			t.Errorf("by %s callees saw %q, %v, want %q", what, got, err, want)
		}
	}
}
