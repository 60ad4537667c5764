package ir

import (
	"fmt"
	"strings"
)

// Path says which paths of requests are meant: one, or every path below it. Only [ParsePath] makes one; the zero value
// stands for none.
type Path struct {
	text  string // with below it ends in a slash
	below bool
}

// ParsePath reads a path, or one that stands for everything below it:
//
//	/v1/users       that path alone, neither /v1/users/ nor anything below
//	/v1/*           every path that begins with /v1/, not /v1 itself
//	/pkg.Service/*  every method of a gRPC service
//
// Paths are compared in upper and lower case as written, without the query. An error says what was expected, what came,
// and the nearest spelling that would be accepted.
func ParsePath(s string) (Path, error) {
	p, problem := parsePath(s)
	if problem == "" {
		return p, nil
	}
	if near, ok := nearestPath(s); ok {
		return Path{}, fmt.Errorf("path %.64q: %s; did you mean %q?", s, problem, near)
	}
	return Path{}, fmt.Errorf("path %.64q: %s", s, problem)
}

// String is the spelling that ParsePath accepts.
func (p Path) String() string {
	if p.below {
		return p.text + "*"
	}
	return p.text
}

// Exact is the one path that is meant, false if there are more.
func (p Path) Exact() (string, bool) { return p.text, !p.below && !p.IsZero() }

// Prefix is what all paths begin with that are meant, and ends in a slash; false if one path is meant.
func (p Path) Prefix() (string, bool) { return p.text, p.below }

// IsEverything says whether every path is meant.
func (p Path) IsEverything() bool { return p.below && p.text == "/" }

// IsZero says whether nobody made the path.
func (p Path) IsZero() bool { return p == Path{} }

// parsePath is ParsePath with the problem as a phrase; "" means none.
func parsePath(s string) (Path, string) {
	text, below := s, false
	if before, ok := strings.CutSuffix(s, "/*"); ok {
		text, below = before+"/", true
	}
	switch {
	case !strings.HasPrefix(text, "/"):
		return Path{}, `expected a path such as "/v1/users", or one followed by "/*"`
	case len(s) > maxPath:
		return Path{}, fmt.Sprintf("expected at most %d bytes, got %d", maxPath, len(s))
	case strings.Contains(text, "*"):
		return Path{}, `"*" is allowed only as the whole last segment`
	case strings.ContainsAny(text, "?#"):
		return Path{}, "expected a path without query and fragment: a query is never compared"
	case strings.Contains(text, "%"):
		return Path{}, `expected a path without "%": a letter has many spellings of that kind`
	case strings.ContainsFunc(text, notInRule):
		return Path{}, "expected a path of letters, digits, slashes and -._~!$&'()+,=:@"
	}
	segments := strings.Split(text[1:], "/")
	for i, segment := range segments {
		switch {
		case segment == "" && i < len(segments)-1:
			return Path{}, "expected a path without empty segments"
		case segment == "." || strings.HasPrefix(segment, ".."):
			return Path{}, "expected a path without dot segments"
		}
	}
	return Path{text: text, below: below}, ""
}

// notInRule leaves out, beside what [notInPath] does, the semicolon: servers cut segments there.
func notInRule(r rune) bool { return notInPath(r) || r == ';' }

// nearestPath repairs the usual slips in s. What it proposes has been parsed, and never covers more than one could read
// in what was written.
func nearestPath(s string) (string, bool) {
	if len(s) > maxPath {
		return "", false
	}
	near := strings.TrimSpace(s)
	if _, after, ok := strings.Cut(near, "://"); ok {
		_, path, _ := strings.Cut(after, "/")
		near = "/" + path
	}
	if i := strings.IndexAny(near, "?#"); i >= 0 {
		near = near[:i]
	}
	below := strings.HasSuffix(near, "*")
	near = strings.TrimRight(near, "*")
	final := strings.HasSuffix(near, "/")
	var kept strings.Builder
	for segment := range strings.SplitSeq(near, "/") {
		if segment != "" && segment != "." {
			kept.WriteString("/" + segment)
		}
	}
	near = kept.String()
	switch {
	case below:
		near += "/*"
	case final || near == "":
		near += "/"
	}
	_, problem := parsePath(near)
	return near, problem == "" && near != s
}
