package ir

import (
	"strings"
	"testing"
)

func TestParseServerName(t *testing.T) {
	for in, want := range map[string]ServerName{
		"DB.example.org":  {host: "db.example.org"},
		"db.example.org.": {host: "db.example.org"},
		"localhost":       {host: "localhost"},
		"10.0.0.7":        {host: "10.0.0.7", ip: true},
		"2001:DB8::7":     {host: "2001:db8::7", ip: true},
	} {
		if got, err := ParseServerName(in); err != nil || got != want {
			t.Errorf("%q: got %#v and %v, want %#v", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".", "*.example.org", "db.example.org:5432", "a_b", "fe80::1%eth0", "[2001:db8::7]", "10.0.0.256"} {
		if got, err := ParseServerName(in); err == nil {
			t.Errorf("%q: got %s, want an error", in, got)
		}
	}
	_, err := ParseServerName("*.example.org")
	const want = `expected the name in the server's certificate, such as db.example.org, got "*.example.org": ` +
		`label "*" has other characters than letters, digits and inner hyphens`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A Secret's name becomes that of a file.
func TestParseCASecret(t *testing.T) {
	for _, name := range []string{"db-ca", "ca.example.org", "0", "a.1", strings.Repeat("a", 63)} {
		if got, err := ParseCASecret(name); err != nil || got.Secret() != name {
			t.Errorf("%q: got %s and %v", name, got, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "A", "a.", "-a", "a-", "a..b", "a b", strings.Repeat("a.", 127)} {
		if got, err := ParseCASecret(name); err == nil {
			t.Errorf("%q: got %s, want an error", name, got)
		}
	}
}

// ruleTest breaks one rule.
type ruleTest struct {
	code  Code
	of    func(*testing.T) Proxy
	spoil func(*Proxy)
	want  string
}

// external calls a service outside the mesh.
func external(t *testing.T) Proxy {
	p := sidecar(t)
	p.Upstreams[0].Peers = nil
	p.Upstreams[0].Server = Server{External: true, CA: SystemCA(), Name: ServerName{host: "api.example.org"}}
	return p
}

func serverRules(t *testing.T) []ruleTest {
	return []ruleTest{
		{ServerPeers, external, func(p *Proxy) { p.Upstreams[0].Peers = peers(t, "/api") },
			`upstreams[0].peers: has no effect with tls, where the server has a certificate of a CA instead of an SVID: remove one of both`},
		{ServerPeers, external, func(p *Proxy) { p.Upstreams[0].Peers = []Peer{} },
			`upstreams[0].peers: has no effect with tls, where the server has a certificate of a CA instead of an SVID: remove one of both`},
		{ServerCAMissing, external, func(p *Proxy) { p.Upstreams[0].Server.CA = CA{} },
			`upstreams[0].tls.ca: expected system or {secret: NAME}, got none`},
		{ServerNameMissing, external, func(p *Proxy) { p.Upstreams[0].Server.Name = ServerName{} },
			`upstreams[0].tls.sni: expected the name in the server's certificate, got none`},
		{TooManyCAs, external, func(p *Proxy) {
			for i, secret := range []string{"a", "b", "c", "d", "e", "a"} {
				up := p.Upstreams[0]
				up.Listen, up.Server.CA = uint16(9000+i), CA{secret: secret}
				p.Upstreams = append(p.Upstreams, up)
			}
		}, `upstreams[5].tls.ca: expected CAs from at most 4 Secrets in a pod`},
	}
}
