package templates

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Every write of a pod carries its annotations, and every informer keeps them. So what Envoy reads is YAML in which
// whatever comes twice is written once: the first time with an anchor (&a), then as an alias (*a). Names of fields are
// more than half of the text, so that holds for keys too, whose aliases have a space before the colon. Of Envoy's reader,
// yaml-cpp, it relies on this, which the tests on the real Envoy would tell:
//
//   - aliases of anything, keys included, in the bootstrap and in files that are read again;
//   - a string in quotes stays a string, also by an alias; without quotes it may become a boolean (y, n, on) or a number;
//   - no merge keys: Envoy takes "<<" for the name of a field.

// short writes a document, which is compact JSON, as YAML of the same meaning, on one line.
func short(document string) string {
	w := &shortWriter{text: document, times: map[string]int{}, anchors: map[string]*anchor{}}
	whole := w.parse()
	w.count(whole)
	w.nameAnchors()
	w.write(whole)
	return w.out.String()
}

// shortest is how long, in JSON, an object or array is at least for an anchor to pay if it comes twice.
const shortest = 8

type shortWriter struct {
	text    string // JSON, of which the part from at on is not parsed yet
	at      int
	times   map[string]int // how often a value or key comes, by its JSON; what is inside of it counts the first time alone
	order   []string       // of those, as they come
	anchors map[string]*anchor
	out     strings.Builder
}

type anchor struct {
	name    string
	written bool
}

// value is a part of the document.
type value struct {
	text  string // its JSON
	keys  []string
	items []value // of an array, or an object with keys
}

func (v value) isObject() bool { return v.text[0] == '{' }

func (v value) isArray() bool { return v.text[0] == '[' }

// parse reads a value. The document is valid and has no white space between values.
func (w *shortWriter) parse() value {
	begin := w.at
	var v value
	switch first := w.text[w.at]; first {
	case '{', '[':
		w.at++
		for w.text[w.at] != '}' && w.text[w.at] != ']' {
			if w.text[w.at] == ',' {
				w.at++
			}
			if first == '{' {
				v.keys = append(v.keys, w.string())
				w.at++ // the colon
			}
			v.items = append(v.items, w.parse())
		}
		w.at++
	case '"':
		w.string()
	default:
		w.at += strings.IndexAny(w.text[w.at:], ",]}") // the document is no number: something ends
	}
	v.text = w.text[begin:w.at]
	return v
}

// string reads a string with its quotes.
func (w *shortWriter) string() string {
	begin := w.at
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[begin:w.at]
}

func (w *shortWriter) count(v value) {
	if isScalar(v.text) || len(v.text) >= shortest {
		w.countText(v.text)
	}
	if w.times[v.text] > 1 {
		return
	}
	for i, item := range v.items {
		if v.isObject() {
			w.countText(v.keys[i])
		}
		w.count(item)
	}
}

func (w *shortWriter) countText(text string) {
	if w.times[text]++; w.times[text] == 1 {
		w.order = append(w.order, text)
	}
}

// nameAnchors gives the shortest names to those that come most often.
func (w *shortWriter) nameAnchors() {
	anchored := slices.DeleteFunc(w.order, func(text string) bool { return !worthwhile(text, w.times[text]) })
	slices.SortStableFunc(anchored, func(a, b string) int { return w.times[b] - w.times[a] })
	for n, text := range anchored {
		w.anchors[text] = &anchor{name: anchorName(n)}
	}
}

// worthwhile is whether an anchor pays. One with a name of two characters takes four, and an alias of a key as many.
func worthwhile(text string, times int) bool {
	if times == 1 || !isScalar(text) {
		return times > 1
	}
	return (times-1)*(len(shortScalar(text))-4) > 4
}

func isScalar(text string) bool { return text[0] != '{' && text[0] != '[' }

func (w *shortWriter) write(v value) {
	if w.writeAlias(v.text) {
		return
	}
	switch {
	case v.isObject():
		for i, key := range v.keys {
			w.put([]string{"{", ","}[min(i, 1)])
			w.writeKey(key)
			w.write(v.items[i])
		}
		w.put("{"[min(len(v.keys), 1):] + "}")
	case v.isArray():
		for i, item := range v.items {
			w.put([]string{"[", ","}[min(i, 1)])
			w.write(item)
		}
		w.put("["[min(len(v.items), 1):] + "]")
	default:
		w.put(shortScalar(v.text))
	}
}

func (w *shortWriter) writeKey(key string) {
	if w.writeAlias(key) {
		w.put(" : ") // the colon could be a part of the name
		return
	}
	w.put(shortScalar(key) + ": ")
}

// writeAlias writes an alias of what has been written, or else the anchor, if there is one.
func (w *shortWriter) writeAlias(text string) bool {
	a, ok := w.anchors[text]
	switch {
	case !ok:
		return false
	case a.written:
		w.put("*" + a.name)
		return true
	}
	a.written = true
	w.put("&" + a.name + " ")
	return false
}

// put adds to what is written. A builder takes everything.
func (w *shortWriter) put(text string) { _, _ = w.out.WriteString(text) }

// anchorCharacters are those that all readers take.
const anchorCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// anchorName is a, …, 9, aa, …
func anchorName(n int) string {
	last := anchorCharacters[n%len(anchorCharacters):][:1]
	if n < len(anchorCharacters) {
		return last
	}
	return anchorName(n/len(anchorCharacters)-1) + last
}

var (
	// bare are strings that need no quotes, neither for yaml-cpp nor for Go's readers: a word, a URL, a duration, an address.
	bare = regexp.MustCompile(`^([A-Za-z/_][\w/.%+=()-]*([: ][\w/.%*+=()-]+)*|\d+(\.\d+)?s|\d+\.\d+\.\d+\.\d+)$`)
	// notBare are those words that YAML 1.1 takes for something else.
	notBare = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$`)
)

// shortScalar writes a string, number, boolean or null of JSON.
func shortScalar(text string) string {
	if text[0] != '"' {
		return text
	}
	var s string
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(fmt.Sprintf("read back %s: %v", text, err)) // cannot fail: it was encoded a moment ago
	}
	if bare.MatchString(s) && !notBare.MatchString(s) {
		return s
	}
	quoted, printable := quote(s)
	if single := "'" + strings.ReplaceAll(s, "'", "''") + "'"; printable && len(single) < len(quoted) {
		return single
	}
	return quoted
}

// quote writes a string in double quotes, and says whether it is all ASCII that can be printed.
func quote(s string) (quoted string, printable bool) {
	var out strings.Builder
	printable = true
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			_, _ = out.WriteString(`\` + string(r))
		case r >= ' ' && r <= '~':
			_, _ = out.WriteRune(r)
		case r < utf8.RuneSelf || r <= 0xffff:
			printable = false
			_, _ = fmt.Fprintf(&out, `\u%04x`, r)
		default:
			printable = false
			_, _ = fmt.Fprintf(&out, `\U%08x`, r)
		}
	}
	return `"` + out.String() + `"`, printable
}
