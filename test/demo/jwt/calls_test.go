package jwt

import (
	"testing"
	"time"
)

func TestLastLine(t *testing.T) {
	const log = `[2026-11-25 14:00:00.000][1][warning] Envoy's own
{"time":"2026-11-25T14:00:01Z","event":"request","status":403,"details":"rbac_access_denied_matched_policy[none]","peer":"p","subject":"s","path":"/early"}
{"time":"2026-11-25T14:00:03Z","event":"request","status":403,"details":"rbac_access_denied_matched_policy[none]","peer":"p","subject":"s","path":"/wanted"}
{"time":"2026-11-25T14:00:04Z","event":"request","status":403,"details":"rbac_access_denied_matched_policy[none]","peer":"p","subject":"other"}
{"time":"2026-11-25T14:00:05Z","event":"request","status":401,"details":"jwt_authn_access_denied{Jwt_is_missing}","peer":"p","subject":"s"}
`
	since := time.Date(2026, 11, 25, 14, 0, 2, 0, time.UTC)
	want := line{Event: "request", Peer: "p", Subject: "s", Status: 403, Details: "rbac_access_denied"}
	if got, found := lastLine(log, want, since); !found || got.Path != "/wanted" {
		t.Errorf("got %+v, %t", got, found)
	}
	if got, found := lastLine(log, want, since.Add(2*time.Second)); found {
		t.Errorf("none is so late, got %+v", got)
	}
}

func TestSubjectSeen(t *testing.T) {
	for answer, ok := range map[string]bool{
		`{"headers":{"X-Spiffe-Jwt-Subject":["spiffe://example.org/app"]}}`:                                true,
		`{"headers":{"X-Spiffe-Jwt-Subject":["spiffe://example.org/admin","spiffe://example.org/app"]}}`:   false,
		`{"headers":{"X-Spiffe-Jwt-Subject":["spiffe://example.org/app"],"Authorization":["Bearer a.b"]}}`: false,
		`{"headers":{}}`: false,
		`ok`:             false,
	} {
		if got, err := subjectSeen(answer); (err == nil) != ok {
			t.Errorf("%s: got %q, %v", answer, got, err)
		}
	}
}

func TestCount(t *testing.T) {
	const log = `{"time":"2026-11-25T14:00:01Z","msg":"new token"}
{"time":"2026-11-25T14:00:03Z","msg":"new token"}
{"time":"2026-11-25T14:00:03Z","msg":"keys have come"}
not JSON
`
	if got := count(log, "new token", time.Date(2026, 11, 25, 14, 0, 2, 0, time.UTC)); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestReadTraffic(t *testing.T) {
	const lines = `2026-11-25T14:00:01.000Z 200 ok
2026-11-25T14:00:01.020Z 503 upstream connect error
2026-11-25T14:00:01.040Z error EOF
2026-11-25T14:00:01.060Z 200 ok
`
	got, err := readTraffic(lines)
	last := time.Date(2026, 11, 25, 14, 0, 1, 60e6, time.UTC)
	if err != nil || got.total != 4 || len(got.failures) != 2 || !got.last.Equal(last) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := readTraffic("command terminated\n"); err == nil {
		t.Error("expected an error for what is no answer")
	}
}
