package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestClientKeepsGoingAfterFailures(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) {
		case 1:
			http.Error(w, "upstream connect error\nsecond line", http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // closes the connection without an answer
		default:
			_, _ = io.WriteString(w, "ok\n")
		}
	}))
	defer server.Close()
	got := runCommand(t.Context(), "client", "--url", server.URL, "--every", "1ms", "--count", "3")
	want := regexp.MustCompile(`^\S+T\S+\.\d{3}\S* 503 upstream connect error\n\S+ error EOF\n\S+ 200 ok\n$`)
	if got.code != exitOK || !want.MatchString(got.stdout) {
		t.Errorf("expected exit code 0 and lines like %s, got %+v", want, got)
	}
}

func TestClientStopsWithSuccess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel() // SIGTERM comes during the call
		<-r.Context().Done()
	}))
	defer server.Close()
	began := time.Now()
	got := runCommand(ctx, "client", "--url", server.URL, "--timeout", "1m")
	if got.code != exitOK || strings.Contains(got.stdout, "error") {
		t.Errorf("expected exit code 0 and no line about the call that was cut off, got %+v", got)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s to stop", took)
	}
}

func TestClientLingers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var after atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if ctx.Err() != nil {
			after.Add(1)
		}
		cancel()
	}))
	defer server.Close()
	got := runCommand(ctx, "client", "--url", server.URL, "--every", "10ms", "--linger", "200ms")
	if got.code != exitOK || after.Load() < 2 {
		t.Errorf("expected calls after the end was asked for, got %d of them, %+v", after.Load(), got)
	}
}
