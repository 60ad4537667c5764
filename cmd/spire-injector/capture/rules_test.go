package capture

import (
	"net/netip"
	"strings"
	"testing"
)

func ports(redirects []Redirect, open ...uint16) Rules {
	return Rules{Redirects: redirects, Open: open}
}

// names are rules with names whose connections come to one port.
func names(from ...string) Rules {
	r := ports([]Redirect{{8080, 8443}})
	for _, f := range from {
		r.Names = append(r.Names, NameRedirect{netip.MustParseAddrPort(f), 15500})
	}
	return r
}

func TestMistakesInRules(t *testing.T) {
	t.Parallel()
	tooMany := make([]Redirect, maxPorts+1)
	for i := range tooMany {
		tooMany[i] = Redirect{From: uint16(i + 1), To: 20000}
	}
	for name, c := range map[string]struct {
		rules Rules
		want  string
	}{
		"nothing":   {Rules{}, "expected at least one port that is redirected, got none"},
		"only open": {ports(nil, 8080), "expected at least one port that is redirected, got none"},
		"too many": {ports(tooMany),
			"expected at most 1024 ports that are redirected, as many that are open, and as many of names, got 1025, 0 and 0"},
		"from nowhere": {ports([]Redirect{{0, 8443}}), "redirect 0:8443: expected ports from 1 to 65535"},
		"to nowhere":   {ports([]Redirect{{8080, 0}}), "redirect 8080:0: expected ports from 1 to 65535"},
		"to itself": {ports([]Redirect{{8080, 8080}}),
			"redirect 8080:8080: expected two ports, one of the app and one of Envoy"},
		"twice": {ports([]Redirect{{8080, 8443}, {8080, 9443}}),
			"redirect 8080:9443: port 8080 is already redirected to 8443"},
		"in a row": {ports([]Redirect{{8080, 8443}, {8443, 9443}}),
			"redirect 8080:8443: Envoy listens on 8443, which cannot be redirected itself, to 9443"},
		"open and redirected":       {ports([]Redirect{{8080, 8443}}, 8080), "open 8080: the port is redirected to 8443"},
		"open nowhere":              {ports([]Redirect{{8080, 8443}}, 0), "open 0: expected a port from 1 to 65535"},
		"a name on Envoy's address": {names("127.0.0.1:8080"), "name 127.0.0.1:8080:15500: expected an address of loopback other than"},
		"a name elsewhere":          {names("10.0.0.1:8080"), "name 10.0.0.1:8080:15500: expected an address of loopback other than"},
		"a name by IPv6":            {names("[::1]:8080"), "name [::1]:8080:15500: expected an address of loopback other than"},
		"a name's rest twice":       {names("127.0.1.1:0", "127.0.1.1:0"), "name 127.0.1.1:*:15500: it is already redirected to 15500"},
		"a name's port of Envoy": {
			Rules{Redirects: []Redirect{{8080, 8443}}, Names: []NameRedirect{{From: netip.MustParseAddrPort("127.0.1.1:0")}}},
			"name 127.0.1.1:*:0: expected a port of Envoy from 1 to 65535",
		},
		"a name twice": {names("127.0.1.1:80", "127.0.1.1:80"), "name 127.0.1.1:80:15500: it is already redirected to 15500"},
		"all at once":  {ports([]Redirect{{8080, 8080}}, 0, 8080), "open 8080: the port is redirected to 8080"},
	} {
		err := c.rules.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected %q, got %v", name, c.want, err)
		}
		if name == "all at once" && strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("%s: expected three mistakes, got %v", name, err)
		}
	}
}

func TestGoodRules(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]Rules{
		"one":                      ports([]Redirect{{8080, 8443}}),
		"two to one":               ports([]Redirect{{8080, 8443}, {80, 8443}}),
		"where Envoy listens, too": ports([]Redirect{{8080, 8443}}, 8443, 8443),
		"names":                    names("127.0.1.1:80", "127.0.1.1:81", "127.0.1.2:80"),
		"all ports of names":       names("127.0.1.1:0", "127.0.1.1:81", "127.0.1.2:0"),
	} {
		if err := rules.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedirectsAreRead(t *testing.T) {
	t.Parallel()
	if got, err := ParseRedirect("8080:8443"); err != nil || got != (Redirect{8080, 8443}) {
		t.Errorf("got %v, %v", got, err)
	}
	const want = "expected two ports, such as 8080:8443, got"
	for _, text := range []string{
		"", "8080", ":", "8080:", ":8443", "8080:8443:1", "0:8443", "8080:65536", "-1:8443", "http:8443", "8080: 8443",
	} {
		if got, err := ParseRedirect(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestNameRedirectsAreRead(t *testing.T) {
	t.Parallel()
	want := NameRedirect{netip.MustParseAddrPort("127.0.1.1:8080"), 15500}
	if got, err := ParseNameRedirect(want.String()); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	want = NameRedirect{netip.MustParseAddrPort("127.0.1.1:0"), 15500}
	if got, err := ParseNameRedirect("127.0.1.1:*:15500"); err != nil || got != want || got.String() != "127.0.1.1:*:15500" {
		t.Errorf("all other ports: got %v, %v", got, err)
	}
	for _, text := range []string{
		"", "8080", "127.0.1.1:8080", "127.0.1.1:8080:0", "api:8080:15500", "127.0.1.1::15500", "127.0.1.1:0:15500", "*:*:15500", "127.0.1.1:*:*",
	} {
		if got, err := ParseNameRedirect(text); err == nil || !strings.Contains(err.Error(), "such as 127.0.1.1:8080:15500, got") {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

// TestRulesAreWrittenAsNftDoes: the program nft reads this, and lists the table in the same words.
func TestRulesAreWrittenAsNftDoes(t *testing.T) {
	t.Parallel()
	const want = `table inet spire_injector {
	map captured {
		type inet_service : inet_service
		flags constant
		elements = { 8080 : 8443, 15025 : 15021 }
	}

	set reachable {
		type inet_service
		flags constant
		elements = { 8443, 9090, 15021, 15022 }
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname != "lo" meta l4proto tcp redirect to :tcp dport map @captured
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifname != "lo" tcp flags syn / syn,ack tcp dport != @reachable counter reject with tcp reset
	}
}
`
	rules := ports([]Redirect{{8080, 8443}, {15025, 15021}}, 15022, 9090)
	if got := rules.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	const output = `
	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.1.1 tcp dport 8080 redirect to :15500
		ip daddr 127.0.1.2 tcp dport 80 redirect to :15500
		ip daddr 127.0.1.1 meta l4proto tcp redirect to :15500
	}
}
`
	rules.Names = names("127.0.1.1:0", "127.0.1.1:8080", "127.0.1.2:80").Names
	if got := rules.String(); got != strings.TrimSuffix(want, "}\n")+output {
		t.Errorf("got\n%s", got)
	}
}
