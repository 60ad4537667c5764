package files

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

var (
	domain = spiffeid.RequireTrustDomainFromString("example.org")
	appID  = spiffeid.RequireFromPath(domain, "/app")  // of whoever uses the files
	peerID = spiffeid.RequireFromPath(domain, "/peer") // of whoever calls it, or is called
)

// svidTTL is that of the app's certificates. SPIRE dates them back by 10 s, and renews them after half of the whole:
// 5 s after they were made.
const svidTTL = 20 * time.Second

func TestMain(m *testing.M) {
	c, inPod, err := fromEnvironment()
	if err == nil && !inPod {
		os.Exit(m.Run())
	}
	if err == nil {
		err = map[role]func(context.Context) error{rolePod: c.pod, roleRotator: c.rotator}[c.Role](context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// eventually waits until something succeeds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute: %v", what, err)
		}
	}
}

// userCache is where programs are that tests take from elsewhere.
func userCache(t *testing.T) parts.Cache {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	return cache
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
