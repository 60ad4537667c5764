package edge

import (
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func TestParseGreeting(t *testing.T) {
	got, err := parseGreeting("Hello, world!\nVersion: 1.0.0\nHostname: helloworld-1\n")
	if diff := cmp.Diff(Greeting{"Hello, world!", "1.0.0", "helloworld-1"}, got); diff != "" || err != nil {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
	for _, text := range []string{"", "ok\n", "Hello, world!\n", "Hello!\nVersion: 1\nHostname: h\n", "Hello, world!\nHostname: h\nVersion: 1\n"} {
		if _, err := parseGreeting(text); mismatch(err) != "the app's answer" {
			t.Errorf("%q: got %v, want a mismatch of the app's answer", text, err)
		}
	}
}

func TestParseProxy(t *testing.T) {
	handshakes := regexp.MustCompile(`(?m)^listener\.[^:]*_10808\.ssl\.handshake: ([0-9]+)$`)
	const (
		certs  = `{"certificates":[{"cert_chain":[{"subject_alt_names":[{"uri":"spiffe://quickstart.spire.io/helloworld"}]}]}]}`
		config = `{"matcher": {"exact": "spiffe://quickstart.spire.io/edge-proxy"}}`
		stats  = "listener.0.0.0.0_10808.ssl.handshake: 3\nlistener.0.0.0.0_15021.ssl.handshake: 9\n"
	)
	for _, c := range []struct {
		name, certs, config, stats, want string
	}{
		{"as told", certs, config, stats, ""},
		{"another certificate", `{"certificates":[{"cert_chain":[{"subject_alt_names":[{"uri":"spiffe://quickstart.spire.io/x"}]}]}]}`, config, stats, "/certs of helloworld"},
		{"another peer", certs, `{"exact": "spiffe://quickstart.spire.io/helloworld"}`, stats, "/config_dump of helloworld"},
		{"no handshake", certs, config, "listener.0.0.0.0_10808.ssl.handshake: 0\n", "/stats of helloworld"},
		{"of another port alone", certs, config, "listener.0.0.0.0_15021.ssl.handshake: 9\n", "/stats of helloworld"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseProxy(App, Edge, handshakes, [][]byte{[]byte(c.certs), []byte(c.config), []byte(c.stats)})
			if mismatch(err) != c.want || (err == nil && got.Handshakes != 3) {
				t.Errorf("got %+v, %v, want a mismatch of %q", got, err, c.want)
			}
		})
	}
}

// mismatch is what an error says did not match, or "".
func mismatch(err error) string {
	var m *scene.Mismatch
	if errors.As(err, &m) {
		return m.What
	}
	return ""
}
