package ir

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in, want, host string
		port           uint16
		ip             bool
	}{
		{"api.default.svc:8443", "api.default.svc:8443", "api.default.svc", 8443, false},
		{"API.Default.svc:1", "api.default.svc:1", "api.default.svc", 1, false},
		{"api:65535", "api:65535", "api", 65535, false},
		{"api.example.org.:443", "api.example.org.:443", "api.example.org.", 443, false},
		{"10.0.0.7:8443", "10.0.0.7:8443", "10.0.0.7", 8443, true},
		{"[2001:DB8::7]:8443", "[2001:db8::7]:8443", "2001:db8::7", 8443, true},
	}
	for _, test := range tests {
		got, err := ParseAddress(test.in)
		if err != nil {
			t.Errorf("ParseAddress(%q): %v", test.in, err)
			continue
		}
		if got.String() != test.want || got.Host() != test.host || got.Port() != test.port || got.IsIP() != test.ip {
			t.Errorf("ParseAddress(%q) = %s (host %q, port %d, IP %t)", test.in, got, got.Host(), got.Port(), got.IsIP())
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	const hostPort = `: expected host:port such as "api.default.svc:8443"`
	const port = `: expected a port from 1 to 65535, got `
	const name = `: expected a DNS name or an IP address, got `
	long := strings.Repeat("a", 64)
	tests := []struct{ in, want string }{
		{"", hostPort},
		{"api", hostPort},
		{"2001:db8::7:8443", hostPort},
		{"https://api:8443", hostPort + `, without a scheme: "api:8443"`},
		{"api:0", port + `"0"`},
		{"api:65536", port + `"65536"`},
		{"api:http", port + `"http"`},
		{"api:+1", port + `"+1"`},
		{":8443", name + `"": it is empty`},
		{"a_b:1", name + `"a_b": label "a_b" has other characters than letters, digits and inner hyphens`},
		{"-a:1", name + `"-a": label "-a" has other characters than letters, digits and inner hyphens`},
		{"a..b:1", name + `"a..b": a label has 1 to 63 characters`},
		{long + ":1", name + `"` + long + `": a label has 1 to 63 characters`},
		{"1.2.3:80", name + `"1.2.3": the last label of a name is not a number`},
		{"10.0.0.256:80", name + `"10.0.0.256": the last label of a name is not a number`},
		{"0.0.0.0:80", `: expected the address of one host, without a zone, got "0.0.0.0"`},
		{"[fe80::1%eth0]:80", `: expected the address of one host, without a zone, got "fe80::1%eth0"`},
	}
	for _, test := range tests {
		got, err := ParseAddress(test.in)
		want := `address "` + test.in + `"` + test.want
		if err == nil {
			t.Errorf("ParseAddress(%q) = %s, want an error", test.in, got)
		} else if err.Error() != want {
			t.Errorf("ParseAddress(%q)\n got %s\nwant %s", test.in, err, want)
		}
	}
}

func TestParseProtocol(t *testing.T) {
	for text, want := range map[string]Protocol{"": HTTP, "http": HTTP, "http2": HTTP2, "grpc": GRPC, "tcp": TCP} {
		if got, err := ParseProtocol(text); err != nil || got != want {
			t.Errorf("ParseProtocol(%q) = %s, %v", text, got, err)
		}
	}
	_, err := ParseProtocol("HTTP")
	if want := `protocol "HTTP": expected one of http, http2, grpc, tcp`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseTLSMode(t *testing.T) {
	for text, want := range map[string]TLSMode{"": Mutual, "mutual": Mutual, "permissive": Permissive, "none": None} {
		if got, err := ParseTLSMode(text); err != nil || got != want {
			t.Errorf("ParseTLSMode(%q) = %s, %v", text, got, err)
		}
	}
	_, err := ParseTLSMode("Mutual")
	if want := `tls "Mutual": expected one of mutual, permissive, none`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
