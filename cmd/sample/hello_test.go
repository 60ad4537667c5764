package main

import (
	"context"
	"io"
	"testing"
)

func TestHello(t *testing.T) {
	t.Parallel()
	log := &events{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"hello", "--listen", "127.0.0.1:0", "--version", "v1", "--name", "helloworld-1"}, log, io.Discard)
	}()
	url := "http://" + log.await(t, "listening")["address"]
	for _, path := range []string{"/", "/any/path"} {
		got := runCommand(t.Context(), "get", url+path)
		if want := "Hello, world!\nVersion: v1\nHostname: helloworld-1\n"; got.stdout != want {
			t.Errorf("%s: expected %q, got %+v", path, want, got)
		}
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("told to end, it ended with %d, expected 0", code)
	}
	if got := runCommand(t.Context(), "hello", "--message", ""); got.code != exitUsage {
		t.Errorf("without a message: expected wrong usage, got %+v", got)
	}
}
