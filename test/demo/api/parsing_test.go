package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, "2026-11-22T"+text+"Z")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTurned(t *testing.T) {
	early, since, late := at(t, "15:00:00"), at(t, "15:00:01"), at(t, "15:00:02")
	for _, c := range []struct {
		name     string
		requests []scene.LogLine
		want     string
	}{
		{"200, then 403 on the same connection", []scene.LogLine{{Remote: "a", Status: 200, Time: early}, {Remote: "a", Status: 403, Time: late}}, "a"},
		{"among others", []scene.LogLine{{Remote: "a", Status: 200}, {Remote: "b", Status: 403, Time: late}, {Remote: "a", Status: 403, Time: since}}, "a"},
		{"403 on another connection only", []scene.LogLine{{Remote: "a", Status: 200}, {Remote: "b", Status: 403, Time: late}}, ""},
		{"200 only after the 403", []scene.LogLine{{Remote: "a", Status: 403, Time: late}, {Remote: "a", Status: 200, Time: late}}, ""},
		{"the 403 of an earlier change", []scene.LogLine{{Remote: "a", Status: 200, Time: early}, {Remote: "a", Status: 403, Time: early}}, ""},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			remote, found := turned(c.requests, since)
			if remote != c.want || found != (c.want != "") {
				t.Errorf("got %q, %t, want %q", remote, found, c.want)
			}
		})
	}
}

func TestClientLog(t *testing.T) {
	calls := parseCalls(strings.Join([]string{
		"2026-11-22T15:47:04.000Z 503 no healthy upstream",
		"2026-11-22T15:47:05.340Z 200 ok",
		"not a call at all",
		"2026-11-22T15:47:06.000Z 200 something else",
		"2026-11-22T15:47:07.000Z error dial tcp: refused",
		"2026-11-22T15:47:08.000Z 200 ok",
		"2026-11-22T15:4", // cut off
	}, "\n"))
	var got []string
	for _, c := range calls {
		got = append(got, c.Time.Format("05.000")+"|"+c.Status+"|"+c.Answer)
	}
	want := []string{"04.000|503|no healthy upstream", "05.340|200|ok", "06.000|200|something else", "07.000|error|dial tcp: refused", "08.000|200|ok"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	count, failed := sinceFirstOK(calls)
	if diff := cmp.Diff(calls[2:4], failed); diff != "" || count != 4 {
		t.Errorf("got %d calls since the first ok, want 4; failed -want +got:\n%s", count, diff)
	}
}

func TestManifestsOfTheProject(t *testing.T) {
	got, err := scene.Scene{Root: "../../.."}.Manifests(manifests()...)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Errorf("got %d manifests, want those of three workloads", len(got))
	}
	for _, m := range got {
		if !strings.HasPrefix(m.Excerpt, "labels:\n") || !strings.Contains(m.Excerpt, "\nannotations:\n  spiffe.io/spiffe-id: /") || strings.Contains(m.Excerpt, "containers") {
			t.Errorf("%s: labels and annotations alone, got:\n%s", m.Path, m.Excerpt)
		}
	}
}

func TestAllowCommand(t *testing.T) {
	want := "kubectl -n demo annotate pod -l app=api --overwrite spiffe.io/allowed-peers=/valid-api-client,/invalid-api-client"
	if got := AllowCommand(Valid, Invalid).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
