package answers

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/spire-injector/spire-injector/templates"
)

// calleeLog is the end of a log of the api in testdata/mistakes.txtar, namespace m4.
const calleeLog = `half of a line","event":"request"}
[2026-01-01 11:50:00.123][1][warning][config] [source/common/config/filesystem_subscription_impl.cc:96] Filesystem config update rejected: Error adding/updating listener(s) inbound_80: cannot bind '127.0.0.1:80': Permission denied
{"time":"2026-01-01T11:51:00.000Z","event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/web","remote":"10.0.0.7:4444","reason":"TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:SAN_match"}
{"time":"2026-01-01T11:52:00.000Z","event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/web","remote":"10.0.0.7:4445","reason":"TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:SAN_match"}
{"time":"2026-01-01T11:53:00.000Z","event":"handshake_refused","listener":"inbound_8443","remote":"10.9.9.9:1","reason":"TLS_error:|1:HTTP_REQUEST"}
{"time":"2026-01-01T11:54:00.000Z","event":"request","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/ok","remote":"10.0.0.8:1","status":403,"method":"POST","path":"/v1","details":"rbac_access_denied_matched_policy[none]"}
{"time":"2026-01-01T11:55:00.000Z","event":"request","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/ok","remote":"10.0.0.8:1","status":200,"audit":"denied"}
{"time":"2026-01-01T11:56:00.000Z","event":"request","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/ok","remote":"10.0.0.8:1","status":"200","audit":"allowed"}
{"time":"2026-01-01T11:57:00.000Z","event":"plain_request","listener":"inbound_8443","remote":"10.0.0.1:1","status":200}
{"event":"of tomorrow","listener":"x"}
`

const callerLog = `{"time":"2026-01-01T11:40:00.000Z","event":"upstream_request","listener":"upstream_8000","status":503,"flags":"UF","reason":"remote connection failure, transport failure reason: TLS_error:|1:WRONG_VERSION_NUMBER"}
{"time":"2026-01-01T11:41:00.000Z","event":"upstream_request","listener":"upstream_8000","peer":"spiffe://example.org/ns/m4/api","status":200,"flags":"-"}
{"time":"2026-01-01T11:42:00.000Z","event":"upstream_request","listener":"upstream_8000","peer":"spiffe://example.org/ns/m4/api","status":500,"flags":"-"}
`

// logOf is what a log says.
func logOf(t testing.TB, text string) Log {
	t.Helper()
	l, err := ReadLog(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What a log says is counted by what it is about; a line that is none of ours says nothing.
func TestReadLog(t *testing.T) {
	t.Parallel()
	of := func(l Log) string {
		var out []string
		for _, s := range l.Seen {
			out = append(out, fmt.Sprintf("%d %s %s%s %d %s", s.Count, s.Kind, s.Peer, s.Address, s.Port, s.Reason))
		}
		return strings.Join(out, "\n")
	}
	l := logOf(t, calleeLog)
	const want = `2 refused spiffe://example.org/ns/m4/web 8443 TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:SAN_match
1 refused 10.9.9.9 8443 TLS_error:|1:HTTP_REQUEST
1 denied spiffe://example.org/ns/m4/ok 8443 POST /v1 rbac_access_denied_matched_policy[none]
1 audited spiffe://example.org/ns/m4/ok 8443 
1 passed spiffe://example.org/ns/m4/ok 8443 
1 plain 10.0.0.1 8443 `
	if got := of(l); got != want {
		t.Errorf("got %s", got)
	}
	if l.From.Minute() != 50 || l.Until.Minute() != 57 || !strings.HasPrefix(l.Rejection, "Error adding/updating listener(s) inbound_80: cannot bind") {
		t.Errorf("got %+v", l)
	}
	const calls = `1 failed  8000 remote connection failure, transport failure reason: TLS_error:|1:WRONG_VERSION_NUMBER
2 called spiffe://example.org/ns/m4/api 8000 `
	if got := of(logOf(t, callerLog)); got != calls {
		t.Errorf("got %s", got)
	}
}

// A caller that writes other paths all the time does not fill the memory of who looks.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 3 * mostSeen {
		fmt.Fprintf(&b, `{"time":"2026-01-01T11:54:00.000Z","event":"request","listener":"inbound_8443","peer":"p","status":403,"path":"/%d%s"}`+"\n",
			i, strings.Repeat("x", 2*mostReason))
	}
	l := logOf(t, b.String())
	if len(l.Seen) != mostSeen || len(l.Seen[0].Reason) > 2*mostReason {
		t.Errorf("got %d of %q", len(l.Seen), l.Seen[0].Reason)
	}
}

// FuzzLine reads any line as encoding/json does.
func FuzzLine(f *testing.F) {
	for text := range strings.Lines(calleeLog + callerLog) {
		f.Add([]byte(strings.TrimSpace(text)))
	}
	for _, text := range []string{
		`{}`, `{"event":"a"`, `{"event":"a"}}`, `{"event":"a",}`, `{"event":"a" ,"ms":1}`, `{"Event":"a"}`, `{"event":"a","event":"b"}`,
		`{"event":"a","status":"200"}`, `{"event":"a","status":01}`, `{"event":"a","status":-1}`, `{"event":"a","status":2e2}`,
		`{"event":"a","peer":1}`, `{"event":"a","peer":null,"time":null}`, `{"event":"a","path":"\u0041"}`, "{\"event\":\"a\",\"path\":\"\xff\"}",
		"{\"event\":\"a\",\"path\":\"\t\"}", `{"event":"a","path":"ä"}`, `{"event":"a","ms":1.5}`, `{"event":"a","x":{"event":"b"}}`,
		`{"event":"a","time":"2026-01-01"}`, `{"event":"a","time":"2026-01-01T11:54:00+01:00"}`, `{"event":"a","status":}`, `{"":"","event":"a"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want line
		is := len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &want) == nil && want.Event != ""
		var got line
		ok := got.read(raw)
		at := got.Time
		got.Time = want.Time // which may say its place in other words
		if ok != is || ok && (got != want || !at.Equal(want.Time)) {
			t.Errorf("%q: expected %v %+v, got %v %+v", raw, is, want, ok, got)
		}
	})
}

// FuzzReadLog reads what an app's caller, or another container, made of a log.
func FuzzReadLog(f *testing.F) {
	f.Add([]byte(calleeLog))
	f.Add([]byte(callerLog))
	f.Add([]byte("[" + strings.Repeat("a", 70000)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l := logOf(t, string(text)); len(l.Seen) > mostSeen {
			t.Errorf("got %d", len(l.Seen))
		}
	})
}

// witnessedMistakes are the facts of testdata/mistakes.txtar, with what the Envoys of namespace m4 say.
func witnessedMistakes(t *testing.T) *Mesh {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	f := gathered(t, live(t, string(archive.Files[0].Data)))
	f.At = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	svid := &SVID{ID: "spiffe://example.org/ns/m4/api", From: f.At.Add(-30 * time.Minute), Until: f.At.Add(30 * time.Minute)}
	api, web := logOf(t, calleeLog), logOf(t, callerLog)
	f.Told = map[string]Told{
		"m4/api-5d8f9c-0": {Ports: new(true), Apps: new(true), SVID: svid, AskedSVID: true, Log: &api},
		"m4/web-5d8f9c-0": {Ports: new(true), Apps: new(true), SVID: svid, AskedSVID: true, Log: &web},
	}
	for i := range f.Pods {
		if f.Pods[i].key() == "m4/web-5d8f9c-0" {
			f.Pods[i].Status.PodIP = "10.9.9.9"
		}
	}
	return NewMesh(f)
}

func textOf(t *testing.T, e Explanation, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out.String()), " ") // columns are as wide as they have to be
}

// explain tells what Envoys say, and a caller that is refused is no fault of who refuses it.
func TestExplainByEnvoys(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	e, err := m.Explain("m4/api", "")
	got := textOf(t, e, err)
	for _, part := range []string{
		"ok SVID on its node, valid for 30m more, until 2026-01-01T12:30:00Z",
		"note refused 2 refusals of /ns/m4/web (Deployment m4/web), since 11:51:00, last at 11:52:00: the other side's identity is not in the list (SAN_match)",
		"note refused 1 refusal of Pod m4/web-5d8f9c-0, at 11:53:00: plain text came to a port of mutual TLS (HTTP_REQUEST)",
		"1 request of /ns/m4/ok denied, at 11:54:00: POST /v1 rbac_access_denied",
		"1 call of /ns/m4/ok let in, at 11:55:00, which enforcement would refuse",
		"ok log of api-5d8f9c-0, back to 11:50:00",
		"ok entry registered at admission as spire-injector.demo-cluster.",
		"fails called by Deployment m4/web by",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("expected %q, got\n%s", part, got)
		}
	}
	if !e.Passes {
		t.Error("expected a workload to be well whose caller is refused")
	}
	e, err = m.Explain("m4/web", "")
	if got := textOf(t, e, err); e.Passes || !strings.Contains(got, "1 call by 127.0.0.1:8000 failed, at 11:40:00: plain text came back: ") {
		t.Errorf("expected the caller not to be well, got\n%s", got)
	}
}

// Whether a call passed lately is told from both sides.
func TestExplainCallByEnvoys(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	e, err := m.ExplainCall("m4/web", "m4/api", "", Request{})
	got := textOf(t, e, err)
	for _, part := range []string{
		"by the callee: 2 refusals of /ns/m4/web (Deployment m4/web), since 11:51:00, last at 11:52:00: the other side's identity is not in the list (SAN_match); log of api-5d8f9c-0, back to 11:50:00",
		"by the caller: 2 calls passed, since 11:41:00, last at 11:42:00; 1 call failed, at 11:40:00: plain text came back",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("expected %q, got\n%s", part, got)
		}
	}
	told := m.Told["m4/web-5d8f9c-0"]
	told.SVID = &SVID{From: m.At.Add(-time.Hour), Until: m.At.Add(-time.Minute)}
	m.Told["m4/web-5d8f9c-0"] = told
	e, err = m.ExplainCall("m4/web", "m4/api", "", Request{})
	if got := textOf(t, e, err); !strings.Contains(got, "m4/web-5d8f9c-0's SVID expired 60s ago") {
		t.Errorf("got\n%s", got)
	}
}

// A rejected configuration is told with Envoy's reason, also the first, after which Envoy answers nothing.
func TestExplainRejected(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	const key = "m4/api-5d8f9c-0"
	rejected := func() bool {
		e, err := m.Explain("m4/api", "")
		return strings.Contains(textOf(t, e, err), "Envoy rejects its configuration, in api-5d8f9c-0: Error adding/updating listener(s) inbound_80: cannot bind") && !e.Passes
	}
	told := m.Told[key]
	told.Updates = templates.Updates{
		"listeners.yaml": {Taken: 1, Refused: 1, Last: m.At.Add(-time.Hour)},
		"clusters.yaml":  {Taken: 2, Last: m.At},
	}
	m.Told[key] = told
	if !rejected() {
		t.Error("expected the rejection of the last change")
	}
	told.Updates["listeners.yaml"] = templates.Update{Taken: 2, Refused: 1, Last: m.At}
	if rejected() {
		t.Error("expected no rejection of what was taken since")
	}
	told.Updates = nil
	m.Told[key] = told
	if rejected() {
		t.Error("expected a ready pod to be well")
	}
	for _, g := range m.Workloads {
		for _, pod := range g.Groups[0].Pods {
			if pod.key() == key {
				pod.Status.Conditions = nil
			}
		}
	}
	if !rejected() {
		t.Error("expected the rejection of the first configuration")
	}
}
