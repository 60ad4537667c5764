package files

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

//go:embed testdata/Client.java
var clientJava []byte

var java = app{
	prepare: func(_ context.Context, c podConfig) error {
		return os.WriteFile(c.below("Client.java"), clientJava, 0o644)
	},
	args: func(c podConfig) []string {
		return []string{"-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", c.below("Client.java"),
			c.below("volume"), fmt.Sprintf("https://127.0.0.1:%d/", c.Calls), peerID.String()}
	},
}

// A Java program calls a server with certificates that are renewed, which it reads when they have changed. The server
// verifies it, and it verifies the server. No request is lost.
func TestJavaThroughRotations(t *testing.T) {
	t.Parallel()
	program, err := parts.EnsureJava(t.Context(), userCache(t), os.Stderr)
	must(t, err)
	pod := newPod(t, "java", program.Tree, program.Program)
	server := startSPIRE(t, pod.Dir)
	traffic := startRotations(t, "client")
	var asked atomic.Int64
	pod.Calls = startPeer(t, serverConfig(t, server), func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		traffic.saw("client", r.TLS.PeerCertificates[0])
	})
	running := pod.start(t)
	eventually(t, "a request comes", func() error {
		if asked.Load() == 0 {
			return errors.Join(errors.New("none yet"), running.check())
		}
		return nil
	})
	traffic.begin = time.Now()
	traffic.constantly("look", func() error {
		time.Sleep(50 * time.Millisecond)
		return running.check() // it ends when a request fails
	})
	traffic.wait()
	t.Logf("%d requests", asked.Load())
}
