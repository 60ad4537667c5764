package templates

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// variants are proxies of which no two are the same, valid all of them.
func variants(t *testing.T) []Proxy {
	t.Helper()
	base := cases(t)["observed"]
	out := []Proxy{base}
	for _, change := range []func(*Proxy){
		func(p *Proxy) { p.ID = spiffeid.RequireFromPath(auxiliaryOrg, "/api") },
		func(p *Proxy) { p.SVIDTTL = time.Minute },
		func(p *Proxy) { p.AgentSocket = "/run/other.sock" },
		func(p *Proxy) { p.Drain = 0 },
		func(p *Proxy) { p.Inbound[0].Listen = 8444 },
		func(p *Proxy) { p.Inbound[0].App = 8082 },
		func(p *Proxy) { p.Inbound[0].Peers = peers(t, "/web/*") },
		func(p *Proxy) { p.Inbound[0].Peers = peers(t, "/web", "/shop") },
		func(p *Proxy) { p.Inbound[0].Peers = peers(t, "spiffe://auxiliary.org/web") },
		func(p *Proxy) { p.Inbound[0].Protocol = GRPC },
		func(p *Proxy) { p.Inbound[0].TLS = Permissive },
		func(p *Proxy) { p.Inbound[0].Audit = true },
		func(p *Proxy) { p.Inbound[0].Clients = Optional },
		func(p *Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = NotAsked, nil },
		func(p *Proxy) { p.Inbound[0].Certificate = true },
		func(p *Proxy) { p.Inbound[0].Forwarded = peers(t, "/web") },
		func(p *Proxy) { p.Inbound[0].Forwarded = peers(t, "/web/*") },
		func(p *Proxy) { p.Inbound[0].Forwarded = peers(t, "spiffe://auxiliary.org/web") },
		func(p *Proxy) { p.Inbound[0].Limits.MaxConnections = 1 },
		func(p *Proxy) { p.Inbound[0].Limits.MaxRequestBytes = 1 },
		func(p *Proxy) { p.Inbound[0].Limits.RequestTimeout = time.Second },
		func(p *Proxy) { p.Inbound[0].Limits.StreamIdleTimeout = time.Second },
		func(p *Proxy) { p.Inbound[0].Limits.IdleTimeout = time.Second },
		func(p *Proxy) { p.Upstreams[0].Listen = 8001 },
		func(p *Proxy) { p.Upstreams[0].Address = address(t, "other.default.svc:8444") },
		func(p *Proxy) { p.Upstreams[0].Address = address(t, "10.0.0.7:8443") },
		func(p *Proxy) { p.Upstreams[0].Peers = peers(t, "/web") },
		func(p *Proxy) { p.Upstreams[0].Peers = peers(t, "spiffe://auxiliary.org/*") },
		func(p *Proxy) { p.Upstreams[0].Protocol = TCP },
		func(p *Proxy) { p.Inbound[0].App, p.Upstreams[0].Listen, p.Upstreams[0].Match = 0, 0, match(t, "/") },
		func(p *Proxy) { p.Inbound[0].App, p.Upstreams[0].Listen, p.Upstreams[0].Match = 0, 0, match(t, "a/b") },
		func(p *Proxy) { p.Probes = p.Probes[1:] },
		func(p *Proxy) { p.Probes[1].Listen = 15023 },
		func(p *Proxy) { p.Probes[1].Path = "/probe/x" },
		func(p *Proxy) { p.Probes[1].Kind = ProbeHTTPS },
		func(p *Proxy) { p.Probes[1].App = 8083 },
		func(p *Proxy) { p.Probes[1].Target = "/x" },
		func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{"a", "b"}, peers(t, "/web")} },
		func(p *Proxy) { p.Inbound[0].JWT = JWT{[]string{"a"}, peers(t, "/*", "spiffe://auxiliary.org/x")} },
		func(p *Proxy) { p.Upstreams[0].JWTAudience = "a" },
		func(p *Proxy) { p.Metrics.Port = 15091 },
		func(p *Proxy) { p.Metrics.Include = []string{"http."} },
	} {
		variant := base
		variant.Inbound = append([]Inbound(nil), base.Inbound...)
		variant.Upstreams = append([]Upstream(nil), base.Upstreams...)
		variant.Probes = append([]Probe(nil), base.Probes...)
		change(&variant)
		out = append(out, variant)
	}
	return out
}

// TestVariantsCoverEveryField fails when a field has been added that no variant changes.
func TestVariantsCoverEveryField(t *testing.T) {
	seen := map[string]map[string]bool{} // the values of each field, by its path
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if seen[path] == nil {
			seen[path] = map[string]bool{}
		}
		seen[path][fmt.Sprintf("%#v", v)] = true
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
		if v.Kind() == reflect.Slice {
			for i := range v.Len() {
				walk(path+"[]", v.Index(i))
			}
		}
	}
	for _, p := range variants(t) {
		walk("Proxy", reflect.ValueOf(p))
	}
	for path, values := range seen {
		if len(values) < 2 {
			t.Errorf("%s is the same in all variants", path)
		}
	}
}

func TestMemoryIsGenerate(t *testing.T) {
	all := variants(t)
	for _, limit := range []int{1, 100} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			memory := NewMemory(limit)
			var wg sync.WaitGroup
			for range 3 {
				for i, p := range all {
					wg.Go(func() {
						want, err := Generate(p)
						if err != nil {
							t.Error(err)
						}
						got, err := memory.Generate(p)
						if err != nil || got != want {
							t.Errorf("variant %d (%v):\n%s", i, err, cmp.Diff(want, got))
						}
					})
				}
			}
			wg.Wait()
			if n := len(memory.configs); n > limit || n == 0 || limit > len(all) && n != len(all) {
				t.Errorf("expected 1 to %d of %d configurations in memory, got %d", limit, len(all), n)
			}
		})
	}
	if _, err := NewMemory(1).Generate(Proxy{}); err == nil {
		t.Error("expected the error of Generate for an empty proxy, got none")
	}
}

func BenchmarkMemory(b *testing.B) {
	proxy := withUpstreams(b, 1)
	memory := NewMemory(10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := memory.Generate(proxy); err != nil {
			b.Fatal(err)
		}
	}
}
