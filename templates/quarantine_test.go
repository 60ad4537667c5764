package templates

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// matchesAny is what Envoy does with patterns: each has to match the whole name.
func matchesAny(t *testing.T, prefix string, refused []ir.Peer, name string) bool {
	t.Helper()
	for _, matcher := range prefixWithout(prefix, refused) {
		if regexp.MustCompile(`\A(?:` + matcher.GetSafeRegex().GetRegex() + `)\z`).MatchString(name) {
			return true
		}
	}
	return false
}

// The patterns of a prefix take what begins with it and is not refused, and nothing else: names that agree with a
// refused one in all of their first bytes, that are longer, shorter, and siblings.
func TestPrefixWithoutRefused(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"spiffe://example.org/", "spiffe://example.org/ns/prod/", "spiffe://"} {
		refused := peers(t, "/ns/prod/sa/evil", "/ns/prod/sa/evil-2", "/ns/prod/dark/*", "/ns/prod/a.b", "/ns/prod/x-y")
		seen := 0
		for _, r := range refused {
			full := strings.TrimSuffix(r.String(), "/*")
			for n := range len(full) + 1 {
				for _, more := range []string{"", "x", "-", ".", "/", "/x", "z~"} {
					name := full[:n] + more
					seen++
					want := strings.HasPrefix(name, prefix) && len(name) > len(prefix)
					for _, q := range refused {
						if name == q.String() || q.IsPrefix() && strings.HasPrefix(name, q.URIPrefix()) {
							want = false
						}
					}
					if name != prefix && matchesAny(t, prefix, refused, name) != want {
						t.Errorf("%s without %v: %s: expected %t", prefix, refused, name, want)
					}
				}
			}
		}
		if seen < 500 {
			t.Errorf("only %d names", seen)
		}
	}
}

// A long name takes room that patterns do not have: then more is refused, never less.
func TestLongNamesAreRefused(t *testing.T) {
	t.Parallel()
	long := "/ns/prod/" + strings.Repeat("x", 200)
	refused := peers(t, long)
	const prefix = "spiffe://example.org/ns/prod/"
	if matchesAny(t, prefix, refused, "spiffe://example.org"+long) {
		t.Error("the name itself is let in")
	}
	for n, want := range map[int]bool{10: true, 30: true, 150: false} {
		name := fmt.Sprintf("spiffe://example.org%s-other", long[:n])
		if got := matchesAny(t, prefix, refused, name); got != want {
			t.Errorf("%s: expected %t, got %t", name, want, got)
		}
	}
}

func TestQuarantineMarks(t *testing.T) {
	t.Parallel()
	p := cases(t)["several"]
	marks := func(quarantined ...string) string {
		config, err := Generate(refusing(peers(t, quarantined...), p))
		if err != nil {
			t.Fatal(err)
		}
		return QuarantineMarks(config.Listeners)
	}
	// The port 8444 of the case lets everyone in, the other port and the upstreams do not.
	if none, one := marks(), marks("/elsewhere"); none != "" || one == "" || strings.Contains(one, " ") {
		t.Errorf("expected no mark and one, got %q and %q", none, one)
	}
	evil := marks("/ns/prod/sa/evil")
	if evil == "" || evil == marks("/ns/prod/sa/other") || evil != marks("/ns/prod/sa/evil") {
		t.Errorf("marks do not tell quarantines apart: %q", evil)
	}
	if got := QuarantineMarks("[{&a quarantined: &b first},{*a : second},{*a : *b}]"); got != "first second first" {
		t.Errorf("expected the marks behind aliases as well, got %q", got)
	}
}
