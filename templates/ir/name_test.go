package ir

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]struct {
		name string
		all  []string // spellings
	}{
		"api:80":                           {"api.shop", []string{"api.shop.svc.cluster.local", "api.shop.svc", "api.shop", "api"}},
		"Api.Shop:80":                      {"api.shop", []string{"api.shop.svc.cluster.local", "api.shop.svc", "api.shop", "api"}},
		"api.data:80":                      {"api.data", []string{"api.data.svc.cluster.local", "api.data.svc", "api.data"}},
		"api.data.svc:80":                  {"api.data", []string{"api.data.svc.cluster.local", "api.data.svc", "api.data"}},
		"api.data.svc.cluster.local:80":    {"api.data", []string{"api.data.svc.cluster.local", "api.data.svc", "api.data"}},
		"db-0.db.shop.svc:80":              {"db-0.db.shop", []string{"db-0.db.shop.svc.cluster.local", "db-0.db.shop.svc", "db-0.db.shop", "db-0.db"}},
		"db-0.db.shop.svc.cluster.local:1": {"db-0.db.shop", []string{"db-0.db.shop.svc.cluster.local", "db-0.db.shop.svc", "db-0.db.shop", "db-0.db"}},
		"api.data.svc.other.local:80":      {"api.data.svc.other.local", []string{"api.data.svc.other.local"}},
		"api.example.org:80":               {"api.example.org", []string{"api.example.org"}},
		"api.v1.example.org:80":            {"api.v1.example.org", []string{"api.v1.example.org"}},
	} {
		name, port, err := ParseName(text, "shop", "cluster.local")
		if err != nil || name.String() != want.name || !slices.Equal(name.Spellings(), want.all) {
			t.Errorf("%s: got %s at %d, %q, %v", text, name, port, name.Spellings(), err)
			continue
		}
		for _, spelling := range want.all {
			if !name.is(spelling) {
				t.Errorf("%s is not taken for %s", spelling, name)
			}
		}
		for _, other := range []string{"", "ap", "apis", "web", "api.dat", "api.data.sv", "api.data.svc.cluster", "api.data.svc.cluster.local.x", "db-0"} {
			if name.is(other) {
				t.Errorf("%q is taken for %s", other, name)
			}
		}
		if got := name.absolute(); got != want.all[0]+"." {
			t.Errorf("%s is looked up as %s", text, got)
		}
		if got, err := ParseAddress(name.Address(port).String()); err != nil || !name.is(got.Host()) {
			t.Errorf("%s is at %s: %v", text, got, err)
		}
	}
}

// What a name is of, without the cluster's domain, is only known of those that are complete.
func TestNamesWithoutDomain(t *testing.T) {
	name, _, err := ParseName("api.shop.svc.cluster.local:80", "shop", "")
	if err != nil || name.absolute() != "api.shop.svc.cluster.local." || !slices.Equal(name.Spellings(), []string{"api.shop.svc.cluster.local"}) {
		t.Errorf("got %q, %v", name.Spellings(), err)
	}
}

func TestNoName(t *testing.T) {
	const want = `expected a port on 127.0.0.1 such as 8000, or a name with a port that the app calls such as "api:8080"`
	for text, rest := range map[string]string{
		"api":             `, got "api"`,
		"8000":            `, got "8000"`,
		"api:":            `, got "api:": the port is from 1 to 65535`,
		"api:0":           `, got "api:0": the port is from 1 to 65535`,
		"api:http":        `, got "api:http": the port is from 1 to 65535`,
		"api:65536":       `, got "api:65536": the port is from 1 to 65535`,
		":80":             `, got ":80": it is empty`,
		"a_b:80":          `, got "a_b:80": label "a_b" has other characters than letters, digits and inner hyphens`,
		"*.example.org:1": `, got "*.example.org:1": label "*" has other characters than letters, digits and inner hyphens`,
		"10.0.0.7:80":     `, got "10.0.0.7:80": for 127.0.0.1 write listen: 80`,
		"[::1]:80":        `, got "[::1]:80": for 127.0.0.1 write listen: 80`,
		"LocalHost:80":    `, got "LocalHost:80": for 127.0.0.1 write listen: 80`,
		"http://api:80":   `, without a scheme: "api:80"`,
		"api.shop.:80": `, got "api.shop.:80": without its final dot, with which an app asks DNS, and comes past Envoy; ` +
			`did you mean "api.shop:80"?`,
	} {
		if _, _, err := ParseName(text, "shop", "cluster.local"); err == nil || err.Error() != want+rest {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// The addresses of names do not depend on the order in which they are written, nor on how each is spelt.
func TestNamesHaveAddresses(t *testing.T) {
	place := func(names ...string) string {
		p := Proxy{ClusterDomain: "cluster.local"}
		for _, text := range names {
			up := Upstream{Listen: 8000}
			if text != "" {
				up.Name = name(t, text)
			}
			p.Upstreams = append(p.Upstreams, up)
		}
		p.PlaceNames()
		places := map[string]bool{}
		for _, up := range p.Upstreams {
			places[up.Called()+" "+up.ListenIP()] = true
		}
		all := make([]string, 0, len(places))
		for text := range places {
			all = append(all, text)
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	want := "127.0.0.1:8000 127.0.0.1, api.shop:8000 127.0.1.1, web.shop:8000 127.0.1.2"
	for _, names := range [][]string{{"api:80", "web:80", ""}, {"web.shop:80", "", "api.shop.svc:80"}, {"", "web:80", "api:80", "web.shop:80"}} {
		if got := place(names...); got != want {
			t.Errorf("%q: got %s, want %s", names, got, want)
		}
	}
	seen := map[string]bool{}
	for n := range 1024 {
		ip := IPOfName(n)
		if seen[ip] || strings.HasSuffix(ip, ".0") || strings.HasSuffix(ip, ".255") || strings.HasPrefix(ip, "127.0.0.") {
			t.Fatalf("name %d has %s", n, ip)
		}
		seen[ip] = true
	}
}

// In a captured pod Envoy leaves ports of the app to it, and listens elsewhere: where no other has a port, and on the same
// one in whatever order upstreams are written.
func TestNamesOnPortsOfCapturedApps(t *testing.T) {
	p := sidecar(t)
	p.Captured = true
	p.AppPorts = []AppPort{{Container: "app", Port: 8080}, {Container: "app", Port: 15500}}
	p.Inbound[0].Listen, p.Metrics.Port = 15501, 15503
	p.Upstreams[0].Listen = 15502
	for _, text := range []string{"web:8080", "api:8080", "api:9000", "db:15500"} {
		up := p.Upstreams[0]
		var err error
		if up.Name, up.Listen, err = ParseName(text, "shop", "cluster.local"); err != nil {
			t.Fatal(err)
		}
		p.Upstreams = append(p.Upstreams, up)
	}
	want := []string{"127.0.1.1:8080:15504", "127.0.1.2:15500:15505", "127.0.1.3:8080:15506"}
	for range 2 {
		p.PlaceNames()
		if found := p.Validate(); len(found) > 0 {
			t.Fatal(found)
		}
		wantNameRedirects(t, p, want...)
		for _, up := range p.Upstreams {
			ip, port := up.Socket()
			if behind := up.Behind != 0; behind != (ip == "127.0.0.1" && port != up.Listen) {
				t.Errorf("%s: Envoy listens at %s:%d", up.Called(), ip, port)
			}
		}
		slices.Reverse(p.Upstreams)
	}
	p.Captured = false
	for i := range p.Upstreams {
		p.Upstreams[i].Behind = 0
	}
	if p.PlaceNames(); len(p.NameRedirects()) > 0 {
		t.Error("without capture nothing leads to another port")
	}
}

// wantNameRedirects takes them in any order.
func wantNameRedirects(t *testing.T, p Proxy, want ...string) {
	t.Helper()
	var got []string
	for _, r := range p.NameRedirects() {
		got = append(got, r.String())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// All that a captured app calls by a name comes to Envoy by the rules: ports that are no upstream's to one of its own.
func TestRestOfNames(t *testing.T) {
	p := sidecar(t)
	p.AppPorts = []AppPort{{Container: "app", Port: 8080}, {Container: "app", Port: 15500}}
	own := p.Upstreams[0]
	for _, text := range []string{"web:8080", "api:8080", "api:9000"} {
		up := own
		var err error
		if up.Name, up.Listen, err = ParseName(text, "shop", "cluster.local"); err != nil {
			t.Fatal(err)
		}
		up.Passthrough = []uint16{15500 + uint16(len(p.Upstreams))}
		p.Upstreams = append(p.Upstreams, up)
	}
	p.PlaceNames()
	if p.LeadRestOfNames(); p.RestOfNames != 0 || len(p.NameRedirects()) > 0 || len(p.Upstreams[1].Passthrough) == 0 {
		t.Error("without capture nothing leads there")
	}
	listed := p.Upstreams
	p.Captured = true
	p.LeadRestOfNames()
	if found := p.Validate(); len(found) > 0 {
		t.Fatal(found)
	}
	wantNameRedirects(t, p,
		"127.0.1.1:*:15504", "127.0.1.1:8080:15501", "127.0.1.1:9000:15502", "127.0.1.2:*:15504", "127.0.1.2:8080:15503")
	for _, up := range p.Upstreams {
		if len(up.Passthrough) > 0 {
			t.Errorf("%s: ports that pass through are of the rest, got %d", up.Called(), up.Passthrough)
		}
	}
	if len(listed[1].Passthrough) == 0 || listed[2].Behind != 0 {
		t.Error("the upstreams that were given have changed")
	}
	p.Upstreams = []Upstream{own}
	p.RestOfNames = 0
	if p.LeadRestOfNames(); p.RestOfNames != 0 {
		t.Error("without names there is nothing to lead")
	}
}

// What an upstream's address says is looked up as the name that it is, wherever it is written.
func TestNamesAreLookedUp(t *testing.T) {
	p := Proxy{ClusterDomain: "cluster.local", Upstreams: []Upstream{
		{Name: name(t, "api:80")}, {Name: name(t, "api.example.org:80")},
	}}
	for text, want := range map[string]string{
		"api": "api.shop.svc.cluster.local.", "api.shop": "api.shop.svc.cluster.local.", "api.shop.svc": "api.shop.svc.cluster.local.",
		"api.example.org": "api.example.org.", "web": "web", "web.shop.svc": "web.shop.svc.cluster.local.", "api.shop.": "api.shop.",
		"www.example.org": "www.example.org", "10.0.0.7": "10.0.0.7",
	} {
		if got := p.LookedUp(address(t, text+":80")); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"api:80", "a.b:1", "a.b.svc:1", "a.b.svc.cluster.local:1", "a.b.c.svc:1", "svc:1", "svc.svc.svc:1", "a.svc:1", "x.y.z:1", "A.:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, port, err := ParseName(s, "shop", "cluster.local")
		if err != nil {
			return
		}
		full := fmt.Sprintf("%s:%d", n.Spellings()[0], port)
		if again, _, err := ParseName(full, "shop", "cluster.local"); err != nil || again != n {
			t.Errorf("%q became %s, and its full name %s became %s (%v)", s, n, full, again, err)
		}
		for _, spelling := range n.Spellings() {
			if !n.is(spelling) {
				t.Errorf("%q is not taken for %s", spelling, n)
			}
		}
	})
}

func name(t *testing.T, text string) Name {
	t.Helper()
	n, _, err := ParseName(text, "shop", "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nameRules break those of names.
func nameRules() []struct {
	code  Code
	of    func(*testing.T) Proxy
	spoil func(*Proxy)
	want  string
} {
	named := func(t *testing.T) Proxy {
		p := sidecar(t)
		p.AppPorts = append(p.AppPorts, AppPort{Container: "side", Port: 9090})
		p.Upstreams[0].Name, p.Upstreams[0].Passthrough = name(t, "api:8000"), []uint16{22}
		other := p.Upstreams[0]
		other.Name, other.Passthrough = name(t, "web:8000"), nil
		// A port of the app behind an inbound listener, Envoy's own inbound port, and one of 127.0.0.1.
		own := other
		own.Listen, own.Passthrough = 8080, []uint16{8443}
		port := p.Upstreams[0]
		port.Name, port.Passthrough = Name{}, nil
		p.Upstreams = append(p.Upstreams, other, own, port)
		p.PlaceNames()
		return p
	}
	return []struct {
		code  Code
		of    func(*testing.T) Proxy
		spoil func(*Proxy)
		want  string
	}{
		{NameDomain, named, func(p *Proxy) { p.Upstreams = p.Upstreams[:2]; p.Upstreams[1].Name.domain = "" },
			`upstreams[1].listen: the domain of the cluster is not known, without which Envoy would look for web.shop at itself: ` +
				`write clusterDomain: cluster.local in the platform file, or what it is`},
		{NamePlace, named, func(p *Proxy) { p.Upstreams[0].Loopback = "" },
			`upstreams[0].listen: expected an address of loopback for api.shop, got ""`},
		{NamePlace, named, func(p *Proxy) { p.Upstreams[3].Loopback = "127.0.1.1" },
			`upstreams[3].listen: expected an address of loopback for , got "127.0.1.1"`},
		{NamePlace, named, func(p *Proxy) { p.Upstreams[0].Loopback, p.Upstreams[0].Listen = "127.0.1.2", 8001 },
			`upstreams[1].listen: expected an address of loopback for web.shop alone, got that of api.shop`},
		{PortTaken, named, func(p *Proxy) { p.Upstreams[2].Listen = 8000 },
			`upstreams[2].listen: web.shop:8000 is taken already by upstream 1; write each port of a name once`},
		{PortTaken, named, func(p *Proxy) { p.Upstreams[0].Passthrough = []uint16{22, 8000} },
			`upstreams[0].passthrough[1]: api.shop:8000 is taken already by upstream 0; write each port of a name once`},
		{PortTaken, named, func(p *Proxy) { p.Upstreams[0].Listen = ReadinessPort },
			`upstreams[0].listen: port 15021 is one of the sidecar's own on all addresses of the pod`},
		{NameInTheWay, named, func(p *Proxy) { p.Upstreams[0].Listen = 9090 },
			`upstreams[0].listen: container side declares port 9090, and on all addresses of the pod, as most apps listen, it is in the ` +
				`way of Envoy at 127.0.1.1, to which api.shop leads; let it listen on 127.0.0.1 and name the port in inbound, or let ` +
				`Envoy listen on another port of 127.0.0.1 and call that`},
		{NamePlace, named, func(p *Proxy) { p.Upstreams[0].Behind = 15500 },
			`upstreams[0].listen: expected no port behind 8000, to which only the rules of a captured pod lead, got 15500`},
		{PassthroughOfPort, named, func(p *Proxy) { p.Upstreams[3].Passthrough = []uint16{22} },
			`upstreams[3].passthrough: is for further ports of a name: write listen: "api:8080", or remove passthrough`},
	}
}
