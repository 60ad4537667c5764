// Package browser drives a real browser without a window, by the protocol of its developer tools over two pipes: there
// is no port that others could reach, and nothing to wait for.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// patience bounds the wait for one answer.
const patience = 5 * time.Minute

// Browser is one that runs until the test ends.
type Browser struct {
	to io.Writer

	mu      sync.Mutex // of what follows
	last    int
	waiting map[int]chan message
	pages   map[string]*Page // by session
	ended   error
}

// message is one of the protocol, in either direction.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a browser that reaches no network.
func Start(t *testing.T) *Browser {
	t.Helper()
	cache, err := parts.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	installed, err := parts.EnsureBrowser(t.Context(), cache, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	// It ends by its pipe, so that the processes that it started end with it.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), installed.Program,
		"--remote-debugging-pipe",
		"--user-data-dir="+home,
		"--no-sandbox", // which needs rights that a container lacks; the pages are ours
		"--disable-gpu",
		"--disable-dev-shm-usage",
		"--disable-background-networking",
		"--disable-component-update",
		"--host-resolver-rules=MAP * ~NOTFOUND",
		"--force-color-profile=srgb",
		"--hide-scrollbars",
		"about:blank",
	)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Env = append(append(os.Environ(), installed.Env...), "HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.ExtraFiles = []*os.File{in, out}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	_, _ = in.Close(), out.Close()
	b := &Browser{to: to, waiting: map[int]chan message{}, pages: map[string]*Page{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(from)
	}()
	t.Cleanup(func() {
		_ = to.Close() // which ends it
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-done
		if err := cmd.Wait(); t.Failed() {
			t.Logf("the browser ended (%v) and said:\n%s", err, said.String())
		}
	})
	return b
}

// listen takes messages, which end with a zero byte.
func (b *Browser) listen(from io.ReadCloser) {
	defer func() { _ = from.Close() }()
	reader := bufio.NewReader(from)
	for {
		text, err := reader.ReadBytes(0)
		if err != nil {
			b.end(fmt.Errorf("the browser ended: %w", err))
			return
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			b.end(fmt.Errorf("expected a message in JSON: %w", err))
			return
		}
		b.mu.Lock()
		answer, page := b.waiting[m.ID], b.pages[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case page != nil:
			page.note(m)
		}
	}
}

// end has all that wait fail, and those that come.
func (b *Browser) end(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = why
	for _, answer := range b.waiting {
		close(answer)
	}
	b.waiting = map[int]chan message{}
}

// call has the browser, or a page of it, do something. The result goes into what is given, nil for nowhere.
func (b *Browser) call(session, method string, params map[string]any, into any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.ended != nil {
		b.mu.Unlock()
		return b.ended
	}
	b.last++
	m := message{ID: b.last, SessionID: session, Method: method, Params: text}
	b.waiting[m.ID] = answer
	if text, err = json.Marshal(m); err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer in %s", method, patience)
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser ended", method)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case into == nil:
			return nil
		}
		return json.Unmarshal(m.Result, into)
	}
}
