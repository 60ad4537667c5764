package templates

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// variants are proxies of which no two are the same, valid all of them.
func variants(t *testing.T) []ir.Proxy {
	t.Helper()
	base := cases(t)["observed"]
	out := []ir.Proxy{base}
	for _, change := range []func(*ir.Proxy){
		func(p *ir.Proxy) { p.ID = spiffeid.RequireFromPath(auxiliaryOrg, "/api") },
		func(p *ir.Proxy) { p.SVIDTTL = time.Minute },
		func(p *ir.Proxy) { p.AgentSocket = "/run/other.sock" },
		func(p *ir.Proxy) { p.IPFamily = ir.DualStack },
		func(p *ir.Proxy) { p.Drain = 0 },
		func(p *ir.Proxy) { p.Captured = true },
		func(p *ir.Proxy) { p.MemoryLimit = 512 << 20 },
		func(p *ir.Proxy) { p.Inbound[0].Listen = 8444 },
		func(p *ir.Proxy) { p.Inbound[0].App = 8082 },
		func(p *ir.Proxy) { p.Inbound[0].AppHost = "::1" },
		func(p *ir.Proxy) { p.Inbound[0].AppHost = ir.PodIP },
		func(p *ir.Proxy) { p.Probes[1].AppHost = "::1" },
		func(p *ir.Proxy) { p.Inbound[0].Peers = peers(t, "/web/*") },
		func(p *ir.Proxy) { p.Inbound[0].Peers = peers(t, "/web", "/shop") },
		func(p *ir.Proxy) { p.Inbound[0].Peers = peers(t, "spiffe://auxiliary.org/web") },
		func(p *ir.Proxy) {
			p.Inbound[0].Rules = []ir.Rule{{Peer: peers(t, "/x")[0], Methods: []string{"GET"}, Paths: paths(t, "/a")}}
		},
		func(p *ir.Proxy) {
			p.Inbound[0].Rules = []ir.Rule{{Item: 1, Peer: peers(t, "/x")[0], Methods: []string{"PUT"}, Paths: paths(t, "/a/*")}}
		},
		func(p *ir.Proxy) {
			p.Inbound[0].Rules = []ir.Rule{{Peer: peers(t, "/x/*")[0], Methods: []string{"GET"}}}
		},
		func(p *ir.Proxy) {
			p.Inbound[0].Rules = []ir.Rule{{Peer: peers(t, "spiffe://auxiliary.org/x")[0], Methods: []string{"GET"}}}
		},
		func(p *ir.Proxy) { p.Inbound[0].Protocol = ir.GRPC },
		func(p *ir.Proxy) { p.Inbound[0].TLS = ir.Permissive },
		func(p *ir.Proxy) { p.Inbound[0].Audit = true },
		func(p *ir.Proxy) { p.Inbound[0].Clients = ir.Request },
		func(p *ir.Proxy) { p.Inbound[0].Clients, p.Inbound[0].Peers = ir.NoRequest, nil },
		func(p *ir.Proxy) { p.Inbound[0].Certificate = true },
		func(p *ir.Proxy) { p.Inbound[0].Clients, p.Inbound[0].MinTLS = ir.Request, ir.TLS12 },
		func(p *ir.Proxy) { p.Inbound[0].Forwarded = peers(t, "/web") },
		func(p *ir.Proxy) { p.Inbound[0].Forwarded = peers(t, "/web/*") },
		func(p *ir.Proxy) { p.Inbound[0].Forwarded = peers(t, "spiffe://auxiliary.org/web") },
		func(p *ir.Proxy) { p.Inbound[0].Limits.MaxConnections = 1 },
		func(p *ir.Proxy) { p.Inbound[0].Limits.MaxRequestBytes = 1 },
		func(p *ir.Proxy) { p.Inbound[0].Limits.RequestTimeout = time.Second },
		func(p *ir.Proxy) { p.Inbound[0].Limits.StreamIdleTimeout = time.Second },
		func(p *ir.Proxy) { p.Inbound[0].Limits.IdleTimeout = time.Second },
		func(p *ir.Proxy) { p.Upstreams[0].Listen = 8001 },
		func(p *ir.Proxy) { p.Upstreams[0].Address = address(t, "other.default.svc:8444") },
		func(p *ir.Proxy) { p.Upstreams[0].Address = address(t, "10.0.0.7:8443") },
		func(p *ir.Proxy) { p.Upstreams[0].Peers = peers(t, "/web") },
		func(p *ir.Proxy) { p.Upstreams[0].Peers = peers(t, "spiffe://auxiliary.org/*") },
		func(p *ir.Proxy) { p.Upstreams[0].Protocol = ir.TCP },
		func(p *ir.Proxy) { outside(t, p, ir.SystemCA(), "api.example.org", false) },
		func(p *ir.Proxy) { outside(t, p, secretCA(t, "db"), "api.example.org", false) },
		func(p *ir.Proxy) { outside(t, p, secretCA(t, "db"), "10.0.0.7", false) },
		func(p *ir.Proxy) { outside(t, p, secretCA(t, "db"), "10.0.0.7", true) },
		func(p *ir.Proxy) {
			p.Gateway, p.Inbound[0].App, p.Upstreams[0].Listen, p.Upstreams[0].Match = true, 0, 0, match(t, "/")
		},
		func(p *ir.Proxy) {
			p.Gateway, p.Inbound[0].App, p.Upstreams[0].Listen, p.Upstreams[0].Match = true, 0, 0, match(t, "a/b")
		},
		func(p *ir.Proxy) { p.Probes[1].OwnHost = true },
		func(p *ir.Proxy) { p.AppPorts = []ir.AppPort{{Container: "app", Port: 8080}} },
		func(p *ir.Proxy) { p.AppPorts = []ir.AppPort{{Container: "other", Port: 8081}} },
		func(p *ir.Proxy) { p.Probes = p.Probes[1:] },
		func(p *ir.Proxy) { p.Probes[1].Listen = 15023 },
		func(p *ir.Proxy) { p.Probes[1].Path = "/probe/x" },
		func(p *ir.Proxy) { p.Probes[1].Kind = ir.ProbeHTTPS },
		func(p *ir.Proxy) { p.Probes[1].App = 8083 },
		func(p *ir.Proxy) { p.Probes[1].Target = "/x" },
		func(p *ir.Proxy) {
			p.Inbound[0].JWT = ir.JWT{Audiences: []string{"a", "b"}, Subjects: peers(t, "/web")}
		},
		func(p *ir.Proxy) {
			p.Inbound[0].JWT = ir.JWT{Audiences: []string{"a"}, Subjects: peers(t, "/*", "spiffe://auxiliary.org/x")}
		},
		func(p *ir.Proxy) { p.Upstreams[0].JWTAudience = "a" },
		func(p *ir.Proxy) { p.UnboundedStreams = true },
		func(p *ir.Proxy) { p.JSONFiles = true },
		func(p *ir.Proxy) { p.TCPDeadlines = true },
		func(p *ir.Proxy) { p.ClusterDomain = "cluster.local" },
		func(p *ir.Proxy) { p.Refuse(append(append(peers(t), p.Inbound[0].Peers...), p.Upstreams[0].Peers...)) },
		func(p *ir.Proxy) {
			p.Tracing = ir.Tracing{Collector: address(t, "10.0.0.9:4317"), Peers: peers(t, "/otel")}
			p.Refuse(peers(t, "/otel"))
		},
		func(p *ir.Proxy) {
			p.Tracing = ir.Tracing{Collector: address(t, "10.0.0.9:4317"), Peers: peers(t, "spiffe://auxiliary.org/*")}
			p.Inbound[0].Peers, p.Upstreams[0].Peers = p.Tracing.Peers, p.Tracing.Peers
			p.Refuse(peers(t, "spiffe://auxiliary.org/*"))
		},
		func(p *ir.Proxy) {
			p.Tracing = ir.Tracing{Collector: address(t, "10.0.0.9:4317"), Peers: peers(t, "/otel")}
		},
		func(p *ir.Proxy) { p.Tracing = ir.Tracing{Collector: address(t, "otel:4318"), Percent: 50} },
		func(p *ir.Proxy) {
			p.Tracing = ir.Tracing{Collector: address(t, "otel:4318"), Peers: peers(t, "spiffe://auxiliary.org/*")}
		},
		func(p *ir.Proxy) { p.Upstreams[0].Host = "api.example.org" },
		func(p *ir.Proxy) { p.Inbound[0] = ir.Inbound{Listen: 8443, App: 8080, TLS: ir.None, TrustedProxies: 1} },
		func(p *ir.Proxy) { p.Upstreams[0].Resilience = everyResilience() },
		func(p *ir.Proxy) { p.Upstreams[0].Resilience.Retries.Off = true },
		func(p *ir.Proxy) { p.Upstreams[0].Resilience.Retries = ir.Retries{Attempts: 1, On: []string{"reset"}} },
		func(p *ir.Proxy) {
			*p = named(t, *p, ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api"), Passthrough: []uint16{22}}, "api:8080")
		},
		func(p *ir.Proxy) {
			*p = named(t, *p, ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api"), Passthrough: []uint16{22, 23}}, "api.data:8080",
				ir.Upstream{Address: address(t, "api.example.org:8443"), Peers: peers(t, "/api")}, "api.example.org:8080")
		},
		func(p *ir.Proxy) {
			p.Captured, p.AppPorts = true, []ir.AppPort{{Container: "app", Port: 8080}}
			*p = named(t, *p, ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api")}, "api:8080")
		},
		func(p *ir.Proxy) {
			p.Captured, p.AppPorts = true, []ir.AppPort{{Container: "app", Port: 8080}}
			*p = named(t, *p, ir.Upstream{Address: address(t, "api.shop.svc:8443"), Peers: peers(t, "/api")}, "api:8080")
			p.LeadRestOfNames()
		},
		func(p *ir.Proxy) { p.Metrics.Port = 15091 },
		func(p *ir.Proxy) { p.Metrics.Include = []string{"http."} },
	} {
		variant := base
		variant.Inbound = append([]ir.Inbound(nil), base.Inbound...)
		variant.Upstreams = append([]ir.Upstream(nil), base.Upstreams...)
		variant.Probes = append([]ir.Probe(nil), base.Probes...)
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

func TestCacheIsGenerate(t *testing.T) {
	all := variants(t)
	for _, bytes := range []int{1, 60_000, 10 << 20} {
		t.Run(fmt.Sprintf("%d bytes", bytes), func(t *testing.T) {
			cache := NewCache(bytes)
			var wg sync.WaitGroup
			for range 3 {
				for i, p := range all {
					wg.Go(func() {
						want, err := Generate(p)
						if err != nil {
							t.Error(err)
						}
						got, err := cache.Generate(p)
						if err != nil || got != want {
							t.Errorf("variant %d (%v):\n%s", i, err, cmp.Diff(want, got))
						}
						cache.Keep(p, got)
					})
				}
			}
			wg.Wait()
			if n := len(cache.configs); bytes == 1 && n > 0 || bytes == 60_000 && n == 0 || bytes == 10<<20 && n != len(all) {
				t.Errorf("%d of %d configurations are in a cache of %d bytes", n, len(all), bytes)
			}
			kept := 0
			for _, c := range cache.configs {
				kept += len(cacheKey{}) + len(c)
			}
			if kept != cache.bytes || kept > bytes {
				t.Errorf("%d bytes are kept, of which %d are counted and at most %d allowed", kept, cache.bytes, bytes)
			}
		})
	}
	if _, err := NewCache(1).Generate(ir.Proxy{}); err == nil {
		t.Error("expected the error of Generate for an empty proxy, got none")
	}
}

// TestCacheKeepsWhatItIsToldTo: what is generated for a pod that is denied after that leaves nothing.
func TestCacheKeepsWhatItIsToldTo(t *testing.T) {
	cache, p := NewCache(1<<20), variants(t)[0]
	if _, err := cache.Generate(p); err != nil || len(cache.configs) > 0 {
		t.Errorf("expected nothing to be kept of what is only generated, got %d (%v)", len(cache.configs), err)
	}
	other := Config{Listeners: "other"}
	cache.Keep(p, other)
	if got, err := cache.Generate(p); err != nil || got != other {
		t.Errorf("expected what was kept, got another configuration (%v)", err)
	}
	var none *Cache
	none.Keep(p, other)
	if got, err := none.Generate(p); err != nil || got == other {
		t.Errorf("expected a cache that is not there to generate (%v)", err)
	}
}

// TestPackedIsSmall: what is left of a configuration beside another one is a small part of it, also where much differs.
func TestPackedIsSmall(t *testing.T) {
	all := variants(t)
	first, err := Generate(all[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPacker(first)
	if err != nil {
		t.Fatal(err)
	}
	for i, proxy := range all {
		made, err := Generate(proxy)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := p.pack(made)
		if most := len(made.joined()) / 4; err != nil || len(packed) > most && !proxy.JSONFiles {
			t.Errorf("variant %d: expected at most %d bytes, got %d (%v)", i, most, len(packed), err)
		}
		if got, err := p.unpack(packed); err != nil || got != made {
			t.Errorf("variant %d (%v):\n%s", i, err, cmp.Diff(made, got))
		}
		if got, err := p.unpack(packed[:len(packed)/2]); err == nil {
			t.Errorf("variant %d: expected an error for half of it, got %v", i, got)
		}
	}
}

func BenchmarkCache(b *testing.B) {
	proxy := withUpstreams(b, 1)
	cache := NewCache(1 << 20)
	made, err := cache.Generate(proxy)
	if err != nil {
		b.Fatal(err)
	}
	cache.Keep(proxy, made)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cache.Generate(proxy); err != nil {
			b.Fatal(err)
		}
	}
}
