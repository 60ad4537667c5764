package templates

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/pathtricks"
)

var plain = regexp.MustCompile("^(?:" + plainPath + ")$")

// letIn is what a rule for /v1/* makes of a path, as [pathPermission] says it to Envoy.
func letIn(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	return strings.HasPrefix(path, "/v1/") && plain.MatchString(path)
}

func reachesOnlyBelow(t *testing.T, path string) {
	t.Helper()
	if !letIn(path) {
		return
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	for _, server := range pathtricks.Servers() {
		if got, beyond := server.Reaches(path, "/v1/"); beyond {
			t.Errorf("%q is let in, and a server that %s serves %q", path, server.Name, got)
		}
	}
}

// TestPlainPathsStayBelow holds paths that Envoy has not normalized, as those of connections that are older than a
// change, against what servers make of them.
func TestPlainPathsStayBelow(t *testing.T) {
	for _, path := range pathtricks.Tricks("/v1/", "/admin") {
		reachesOnlyBelow(t, path)
	}
	random := rand.New(rand.NewPCG(1, 2))
	pieces := pathtricks.Pieces("/v1/", "/admin")
	let := 0
	for range 200_000 {
		path := "/v1/"
		for range 1 + random.IntN(8) {
			path += pieces[random.IntN(len(pieces))]
		}
		reachesOnlyBelow(t, path)
		if letIn(path) {
			let++
		}
	}
	if let < 1000 {
		t.Errorf("only %d of the random paths are let in: nothing is tested", let)
	}
}

// TestPlainPathsAreCommon: what people have in their paths is no trick.
func TestPlainPathsAreCommon(t *testing.T) {
	for _, path := range []string{
		"/v1/", "/v1/users/17", "/v1/a.b/c.tar.gz", "/v1/.well-known/x", "/v1/a..b", "/v1/main...feature", "/v1/trailing../x",
		"/v1/users/", "/v1/a%20b", "/v1/%C3%A4%e2%82%ac%F0%9F%98%80", "/v1/caf%e9", "/v1/x;jsessionid=1;v=2", "/v1/x:verb", "/v1/a@b.c,d=e&f!g$h'i(j)*+",
		"/v1/~me/-/_/", "/v1/[1]|{x}^`\"<>", "/v1/%5B1%5D%7C%22%3C%3A%40%26", "/v1/x?a=/../b%2e%00",
	} {
		if !letIn(path) {
			t.Errorf("%q is not let in", path)
		}
	}
	for _, path := range []string{
		"/v1", "/V1/x", "/v1/..", "/v1/../x", "/v1/..;/x", "/v1/x/..", "/v1/x/..x", "/v1/%2e", "/v1/a%2eb", "/v1/a%2Fb", "/v1/a%5cb", `/v1/a\b`,
		"/v1/%25", "/v1/%2525", "/v1/%", "/v1/%4", "/v1/%zz", "/v1/%u0041", "/v1/%00", "/v1/%0a", "/v1/%1F", "/v1/%7f", "/v1/a\x00", "/v1/a b",
		"/v1/\xc0\xae", "/v1/ä", "/v1/%c0%ae", "/v1/%c1%80", "/v1/%e0%80%ae", "/v1/%e0", "/v1/%f0%80%80%ae", "/v1/%f0%8f", "/v1/%f5", "/v1/%ff", "x/v1/",
	} {
		if letIn(path) {
			t.Errorf("%q is let in", path)
		}
	}
}

// TestPlainPathIsSmall: Envoy refuses patterns of more than 100 instructions, of its own library.
func TestPlainPathIsSmall(t *testing.T) {
	parsed, err := syntax.Parse(plainPath, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(program.Inst); n > 80 {
		t.Errorf("%d instructions", n)
	}
}

func FuzzPlainPath(f *testing.F) {
	for _, path := range pathtricks.Tricks("/v1/", "/admin") {
		f.Add(path)
	}
	f.Fuzz(reachesOnlyBelow)
}
