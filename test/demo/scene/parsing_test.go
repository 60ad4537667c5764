package scene

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, "2026-11-22T"+text+"Z")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const envoyLog = `[2026-11-22 15:47:03.637][1][warning][main] There is no configured limit
{"event":"handshake_refused","peer":"spiffe://example.org/b","reason":"old","time":"2026-11-22T15:46:59.999Z"}
{"event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/b","self":"spiffe://example.org/api","remote":"10.0.0.1:1","reason":"r","time":"2026-11-22T15:47:00.000Z"}
{"event":"handshake_refused","peer":"spiffe://example.org/bb","reason":"another peer","time":"2026-11-22T15:47:00.100Z"}
{"event":"handshake_refused","reason":"no certificate","time":"2026-11-22T15:47:00.100Z"}
{"event":"request","peer":"spiffe://example.org/b","remote":"10.0.0.1:2","status":200,"time":"2026-11-22T15:47:00.200Z"}
{"event":"handshake_refused","peer":"spiffe://example.org/b","reason":"last","time":"2026-11-22T15:47:01.000Z"}
{"event":"handshake_refused","peer":"spiffe://example.org/b","reason":"late","time":"2026-11-22T15:47:01.001Z"}
{"event":"handshake_refused","peer":"spiffe://exam
`

func TestLinesOf(t *testing.T) {
	from, to := at(t, "15:47:00"), at(t, "15:47:01")
	peer := "spiffe://example.org/b"
	want := []LogLine{
		{Time: from, Event: EventRefused, Peer: peer, Self: "spiffe://example.org/api", Remote: "10.0.0.1:1", Reason: "r"},
		{Time: to, Event: EventRefused, Peer: peer, Reason: "last"},
	}
	if diff := cmp.Diff(want, LinesOf(envoyLog, EventRefused, peer, from, to)); diff != "" {
		t.Errorf("refusals -want +got:\n%s", diff)
	}
	want = []LogLine{{Time: at(t, "15:47:00.2"), Event: EventRequest, Peer: peer, Remote: "10.0.0.1:2", Status: 200}}
	if diff := cmp.Diff(want, LinesOf(envoyLog, EventRequest, peer, from, to)); diff != "" {
		t.Errorf("requests -want +got:\n%s", diff)
	}
}

func TestParseEntries(t *testing.T) {
	got := ParseEntries(`Found 2 entries
Entry ID         : a.b
SPIFFE ID        : spiffe://example.org/api
Parent ID        : spiffe://example.org/node
Revision         : 0
X509-SVID TTL    : 30
JWT-SVID TTL     : default
Selector         : k8s:ns:demo
Selector         : k8s:pod-label:spiffe.io/identity:abc

Entry ID         : c
SPIFFE ID        : spiffe://example.org/b
X509-SVID TTL    : default
`)
	want := []Entry{
		{ID: "a.b", SPIFFEID: "spiffe://example.org/api", TTL: "30", Selectors: []string{"k8s:ns:demo", "k8s:pod-label:spiffe.io/identity:abc"}},
		{ID: "c", SPIFFEID: "spiffe://example.org/b", TTL: "default"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := ParseEntries("Found 0 entries\n"); got != nil {
		t.Errorf("of nothing: got %v", got)
	}
}

func TestParseCertificate(t *testing.T) {
	got, err := ParseCertificate([]byte(`{"certificates":[
		{"ca_cert":[{"subject_alt_names":[{"uri":"spiffe://example.org"}]}],"cert_chain":[]},
		{"cert_chain":[{"subject_alt_names":[{"uri":"spiffe://example.org/api"}],
			"valid_from":"2026-11-22T15:47:00Z","expiration_time":"2026-11-22T15:47:40Z"}]}]}`))
	want := Certificate{ID: "spiffe://example.org/api", From: at(t, "15:47:00"), Expires: at(t, "15:47:40")}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
	var m *Mismatch
	if _, err := ParseCertificate([]byte(`{"certificates":[]}`)); !errors.As(err, &m) || m.What != "/certs" {
		t.Errorf("without certificates: got %v, want a mismatch of /certs", err)
	}
}

func TestPodMetadata(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"before the pod's spec", "kind: Deployment\nspec:\n  template:\n    metadata:\n      # why\n      labels:\n        a: b\n      annotations:\n" +
			"        u: |\n          - {x: 1}\n    spec: {}\n---\nkind: Service\n", "labels:\n  a: b\nannotations:\n  u: |\n    - {x: 1}\n"},
		{"at the end of the file", "spec:\n  template:\n    spec: {}\n    metadata:\n      labels:\n        a: b\n", "labels:\n  a: b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := podMetadata([]byte(c.in))
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("error %v, -want +got:\n%s", err, diff)
			}
		})
	}
	for in, want := range map[string]string{
		"":                            "expected a workload, got an empty document",
		"spec: {template: {}}\n":      "expected the field metadata, found none",
		"spec: 1\n":                   "expected the field spec.template, found none",
		"spec:\n\ttemplate: broken\n": "yaml: ",
	} {
		if _, err := podMetadata([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", in, err, want)
		}
	}
}

func TestCommandForAShell(t *testing.T) {
	for _, c := range []struct {
		name    string
		command Command
		want    string
	}{
		{"plain", In("demo", "get", "pods"), "kubectl -n demo get pods"},
		{"the value is quoted, not the name", In("demo", "-o", `jsonpath={.items[0]['a']}`), `kubectl -n demo -o jsonpath='{.items[0]['\''a'\'']}'`},
		{"blanks and nothing", In("demo", "exec", "a b", ""), "kubectl -n demo exec 'a b' ''"},
		{"pipe", Command{Args: []string{"logs"}, Pipe: "tail -n 1"}, "kubectl logs | tail -n 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.command.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
