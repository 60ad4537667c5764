package envoy

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestDNSAtRest: an Envoy without requests asks again when an answer is over, and asks for a name of the cluster alone.
func TestDNSAtRest(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	dns := startDNS(t)
	dns.set(startBackend(t, agent, "/api", "127.1.4.1", port))
	const often, seldom = "often.shop.svc.cluster.local", "seldom.shop.svc.cluster.local"
	dns.ttls[seldom] = 60
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, ClusterDomain: "cluster.local"}
	for _, name := range []string{"often.shop.svc", seldom} {
		p.Upstreams = append(p.Upstreams, ir.Upstream{
			Listen: freePort(t), Address: parsed(t, fmt.Sprintf("%s:%d", name, port)), Peers: peers(t, "/api"),
		})
	}
	x := startProxy(t, p, dns.use(t))
	x.waitReady()
	eventually(t, time.Minute, "questions for the name that changes often", func() error {
		dns.mu.Lock()
		defer dns.mu.Unlock()
		if dns.asked[often] < 8 {
			return fmt.Errorf("asked %v", dns.asked)
		}
		return nil
	})
	dns.mu.Lock()
	defer dns.mu.Unlock()
	if dns.asked[seldom] != 1 {
		t.Errorf("expected one question for the name that holds for a minute, got %v", dns.asked)
	}
	if names := slices.Sorted(maps.Keys(dns.asked)); !slices.Equal(names, []string{often, seldom}) {
		t.Errorf("expected questions for names of the cluster, got %q", names)
	}
}
