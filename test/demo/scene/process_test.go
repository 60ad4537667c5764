package scene

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

// sceneWith is a scene whose kubectl is a shell script.
func sceneWith(t *testing.T, script string) Scene {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return New(environment.Environment{Kubectl: path, Kubeconfig: "/nowhere"}, t.TempDir())
}

func TestAWatchSeesEachChangeOfStatus(t *testing.T) {
	s := sceneWith(t, `
echo '{"status":"200","body":"ok","connection":"new"}'
echo 'a line of another shape'
echo '{"status":"200","body":"ok","connection":"new"}'
echo '{"status":"403","body":"RBAC: access denied"}'
echo 'what it says at its end' >&2`)
	w, err := s.Watch(t.Context(), In("demo", WatchArgs("http://127.0.0.1:8000", "503")...))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	ok, err := w.NextIs(t.Context(), Sighting{}, "200", "ok")
	if err != nil || ok.Arrived.IsZero() {
		t.Fatalf("got %v at %s", err, ok.Arrived)
	}
	denied, err := w.NextIs(t.Context(), ok, "403", "RBAC")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.NextIs(t.Context(), denied, "503", "upstream connect error")
	var m *Mismatch
	if !errors.As(err, &m) || !strings.HasPrefix(m.Got, "its end") {
		t.Errorf("after the last line: got %v, want a mismatch that says that it ended", err)
	}
}

func TestAWatchRefusesWhatIsNotExpected(t *testing.T) {
	s := sceneWith(t, `echo '{"status":"200","body":"not ok at all"}'`)
	for _, c := range []struct{ status, body string }{{"403", ""}, {"200", "ok"}} {
		w, err := s.Watch(t.Context(), In("demo", WatchArgs("http://127.0.0.1:8000", "403")...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.NextIs(t.Context(), Sighting{}, c.status, c.body)
		w.Stop()
		var m *Mismatch
		if !errors.As(err, &m) || m.Got != "200 not ok at all" {
			t.Errorf("expecting %s %s: got %v, want a mismatch with what came", c.status, c.body, err)
		}
	}
}

func TestStopEndsAWatchThatGoesOn(t *testing.T) {
	s := sceneWith(t, `while :; do echo '{"status":"200","body":"ok"}'; done`)
	w, err := s.Watch(t.Context(), In("demo", WatchArgs("http://127.0.0.1:8000", "503")...))
	if err != nil {
		t.Fatal(err)
	}
	for len(w.sightings) < cap(w.sightings) { // nobody takes them
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() { w.Stop(); close(stopped) }()
	select {
	case <-stopped:
		if _, open := <-w.sightings; open {
			t.Error("its reader still runs")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it still runs")
	}
}

func TestTryAndRun(t *testing.T) {
	s := sceneWith(t, `echo "503"; echo "refused" >&2; exit 1`)
	r, err := s.Try(t.Context(), In("demo", "x"))
	if err != nil || !r.Failed || r.Output() != "503\nrefused\n" {
		t.Errorf("try: got %+v, %v", r, err)
	}
	_, err = s.Run(t.Context(), In("demo", "x"))
	var m *Mismatch
	if !errors.As(err, &m) || m.Got != "503\nrefused\n" {
		t.Errorf("run: got %v, want a mismatch with the output", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the reader left"))
	if _, err := s.Try(ctx, In("demo", "x")); err == nil || !strings.Contains(err.Error(), "the reader left") {
		t.Errorf("after the end of the context: got %v", err)
	}
}

func TestARefusalHasToBeForTheReasonTold(t *testing.T) {
	const peer = "spiffe://example.org/b"
	now := time.Now().UTC()
	line := func(reason string) string {
		return `echo '{"event":"handshake_refused","peer":"` + peer + `","reason":"` + reason + `","time":"` + now.Format(time.RFC3339Nano) + `"}'`
	}
	_, got, err := sceneWith(t, line("TLS_error:verify_cert_failed:_SAN_match:TLS_error_end")).Refusal(t.Context(), In("demo", "logs"), peer, "_SAN_match", now, now)
	if err != nil || got.Peer != peer {
		t.Errorf("got %+v, %v", got, err)
	}
	_, _, err = sceneWith(t, line("TLS_error:certificate_has_expired")).Refusal(t.Context(), In("demo", "logs"), peer, "_SAN_match", now, now)
	var m *Mismatch
	if !errors.As(err, &m) || m.What != "reason of the refused handshake" {
		t.Errorf("for another reason: got %v, want a mismatch of it", err)
	}
}

func TestPoll(t *testing.T) {
	calls := 0
	found, err := Poll(t.Context(), time.Minute, func() (bool, error) { calls++; return calls == 2, nil })
	if !found || err != nil || calls != 2 {
		t.Errorf("found at the second look: got %t, %v after %d", found, err, calls)
	}
	if found, err := Poll(t.Context(), 0, func() (bool, error) { return false, nil }); found || err != nil {
		t.Errorf("over: got %t, %v", found, err)
	}
	broken := errors.New("broken")
	if _, err := Poll(t.Context(), time.Minute, func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("failed: got %v", err)
	}
}
