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
	w, err := s.watch(t.Context(), WatchCommand(Invalid, "503"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	ok, err := w.nextIs(t.Context(), Sighting{}, "200", "ok")
	if err != nil || ok.Arrived.IsZero() {
		t.Fatalf("got %v at %s", err, ok.Arrived)
	}
	denied, err := w.nextIs(t.Context(), ok, "403", "RBAC")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.nextIs(t.Context(), denied, "503", refusedBody)
	var m *Mismatch
	if !errors.As(err, &m) || !strings.HasPrefix(m.Got, "its end") {
		t.Errorf("after the last line: got %v, want a mismatch that says that it ended", err)
	}
}

func TestAWatchRefusesWhatIsNotExpected(t *testing.T) {
	s := sceneWith(t, `echo '{"status":"200","body":"not ok at all"}'`)
	for _, c := range []struct{ status, body string }{{"403", ""}, {"200", "ok"}} {
		w, err := s.watch(t.Context(), WatchCommand(Invalid, "403"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.nextIs(t.Context(), Sighting{}, c.status, c.body)
		w.stop()
		var m *Mismatch
		if !errors.As(err, &m) || m.Got != "200 not ok at all" {
			t.Errorf("expecting %s %s: got %v, want a mismatch with what came", c.status, c.body, err)
		}
	}
}

func TestStopEndsAWatchThatGoesOn(t *testing.T) {
	s := sceneWith(t, `while :; do echo '{"status":"200","body":"ok"}'; done`)
	w, err := s.watch(t.Context(), WatchCommand(Invalid, "503"))
	if err != nil {
		t.Fatal(err)
	}
	for len(w.sightings) < cap(w.sightings) { // nobody takes them
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
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
	r, err := s.try(t.Context(), inDemo("x"))
	if err != nil || !r.Failed || r.Output() != "503\nrefused\n" {
		t.Errorf("try: got %+v, %v", r, err)
	}
	_, err = s.run(t.Context(), inDemo("x"))
	var m *Mismatch
	if !errors.As(err, &m) || m.Got != "503\nrefused\n" {
		t.Errorf("run: got %v, want a mismatch with the output", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the reader left"))
	if _, err := s.try(ctx, inDemo("x")); err == nil || !strings.Contains(err.Error(), "the reader left") {
		t.Errorf("after the end of the context: got %v", err)
	}
}

func TestCallsAreJudgedByWhatCame(t *testing.T) {
	if _, err := sceneWith(t, `echo ok`).Allowed(t.Context(), Valid); err != nil {
		t.Errorf("an ok: %v", err)
	}
	for _, script := range []string{`echo no`, `echo ok; exit 1`, `echo 'ok, but'`} {
		_, err := sceneWith(t, script).Allowed(t.Context(), Valid)
		wantMismatch(t, err, "call of "+Valid)
	}
	for _, script := range []string{`echo ok`, `echo 'no healthy upstream'; exit 1`, `echo '` + refusedBody + `'`} {
		_, err := sceneWith(t, script).Refused(t.Context(), Invalid)
		wantMismatch(t, err, "call of "+Invalid)
	}
}

func TestARefusalHasToBeForTheReasonTold(t *testing.T) {
	now := time.Now().UTC()
	line := func(reason string) string {
		return `echo '{"event":"handshake_refused","peer":"` + ID(Invalid) + `","reason":"` + reason + `","time":"` + now.Format(time.RFC3339Nano) + `"}'`
	}
	_, got, err := sceneWith(t, line("TLS_error:verify_cert_failed:_SAN_match:TLS_error_end")).refusal(t.Context(), ID(Invalid), now, now)
	if err != nil || got.Peer != ID(Invalid) {
		t.Errorf("got %+v, %v", got, err)
	}
	_, _, err = sceneWith(t, line("TLS_error:certificate_has_expired")).refusal(t.Context(), ID(Invalid), now, now)
	wantMismatch(t, err, "reason of the refused handshake")
}

func TestPoll(t *testing.T) {
	calls := 0
	found, err := poll(t.Context(), time.Minute, func() (bool, error) { calls++; return calls == 2, nil })
	if !found || err != nil || calls != 2 {
		t.Errorf("found at the second look: got %t, %v after %d", found, err, calls)
	}
	if found, err := poll(t.Context(), 0, func() (bool, error) { return false, nil }); found || err != nil {
		t.Errorf("over: got %t, %v", found, err)
	}
	broken := errors.New("broken")
	if _, err := poll(t.Context(), time.Minute, func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("failed: got %v", err)
	}
}
