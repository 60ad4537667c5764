package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseLogLine(t *testing.T) {
	got, err := parseLogLine("2026-01-02T03:04:05.678901234Z 2026-01-02T03:04:05.600Z 200 ok\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC); !got.at.Equal(want) {
		t.Errorf("at %v, want %v", got.at, want)
	}
	if want := "2026-01-02T03:04:05.600Z 200 ok"; got.text != want {
		t.Errorf("text %q, want %q", got.text, want)
	}
	if _, err := parseLogLine("no time here"); err == nil || !strings.Contains(err.Error(), "begins with a time") {
		t.Errorf("got error %v, want one that says what was expected", err)
	}
}

func TestLogLineOK(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-01-02T03:04:05.600Z 200 ok":                       true,
		"2026-01-02T03:04:05.600Z 503 upstream connect error":   false,
		"2026-01-02T03:04:05.600Z 403 RBAC: access denied":      false,
		"2026-01-02T03:04:05.600Z error connection refused 200": false,
		"200": false,
		"":    false,
	} {
		if got := (logLine{text: text}).ok(); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}
