package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// Page is one that is open.
type Page struct {
	t       *testing.T
	browser *Browser
	session string
	loaded  chan struct{}

	mu       sync.Mutex // of what follows
	requests []string
	faults   []string
}

// Look is how a page is looked at.
type Look struct {
	Width, Height int
	Dark          bool // the reader asks for dark colours
}

// Open opens an address, and waits until all of it is there.
func (b *Browser) Open(t *testing.T, address string, look Look) *Page {
	t.Helper()
	p := &Page{t: t, browser: b, loaded: make(chan struct{}, 1)}
	var target struct{ TargetID string }
	p.must(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	p.must(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p.session = attached.SessionID
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.do(domain+".enable", nil, nil)
	}
	colours := "light"
	if look.Dark {
		colours = "dark"
	}
	p.do("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": colours}},
	}, nil)
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": look.Width, "height": look.Height, "deviceScaleFactor": 1, "mobile": false,
	}, nil)
	var navigated struct{ ErrorText string }
	p.do("Page.navigate", map[string]any{"url": address}, &navigated)
	if navigated.ErrorText != "" {
		t.Fatalf("opening %s: %s", address, navigated.ErrorText)
	}
	select {
	case <-p.loaded:
	case <-time.After(patience):
		t.Fatalf("%s is not loaded after %s", address, patience)
	}
	return p
}

// note keeps what happens on the page.
func (p *Page) note(m message) {
	var of struct {
		Request          struct{ URL string }
		Type             string            // of a call of the console
		Args             []json.RawMessage // of the same
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	known := []string{
		"Page.loadEventFired", "Network.requestWillBeSent", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded",
	}
	if !slices.Contains(known, m.Method) {
		return
	}
	if err := json.Unmarshal(m.Params, &of); err != nil {
		p.fault(fmt.Sprintf("%s: %v", m.Method, err))
	}
	switch m.Method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Network.requestWillBeSent":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests = append(p.requests, of.Request.URL)
	case "Runtime.exceptionThrown":
		p.fault(of.ExceptionDetails.Text + " " + of.ExceptionDetails.Exception.Description)
	case "Runtime.consoleAPICalled":
		p.fault(fmt.Sprintf("console.%s: %s", of.Type, of.Args))
	case "Log.entryAdded":
		p.fault(fmt.Sprintf("%s: %s %s", of.Entry.Level, of.Entry.Text, of.Entry.URL))
	}
}

func (p *Page) fault(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, text)
}

// Requests are the addresses that the page asked for, with its own.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Faults are errors of its scripts, what the browser refused it, and all that it wrote to its console.
func (p *Page) Faults() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.faults)
}

func (p *Page) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *Page) do(method string, params map[string]any, into any) {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	p.must(p.browser.call(p.session, method, params, into))
}

// Value is that of an expression in the page.
func Value[T any](p *Page, expression string) T {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value T }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	p.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if failed := answer.ExceptionDetails; failed != nil {
		p.t.Fatalf("%s: %s", expression, failed.Exception.Description)
	}
	return answer.Result.Value
}

// Type writes where the page has its focus.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.do("Input.insertText", map[string]any{"text": text}, nil)
}

// Press presses a key, such as Enter or Escape.
func (p *Page) Press(key string, code int) {
	p.t.Helper()
	text := ""
	if key == "Enter" {
		text = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.do("Input.dispatchKeyEvent", map[string]any{
			"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
		}, nil)
	}
}

// Click clicks at a place of the window, an expression whose value is [x, y].
func (p *Page) Click(place string) {
	p.t.Helper()
	at := Value[[]float64](p, place)
	if len(at) != 2 {
		p.t.Fatalf("%s: expected [x, y], got %v", place, at)
	}
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		p.do("Input.dispatchMouseEvent", map[string]any{
			"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1,
		}, nil)
	}
}

// Screenshot writes what the window shows into a file, and says where.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var picture struct{ Data []byte }
	p.do("Page.captureScreenshot", map[string]any{"format": "png"}, &picture)
	p.must(os.WriteFile(file, picture.Data, 0o644))
	p.t.Logf("screenshot: %s", file)
}
