package ir

import (
	"cmp"
	"fmt"
	"strings"
)

// Match says which requests of a gateway's callers an upstream takes: those for a host, or for any, whose path
// begins with a prefix. Only [ParseMatch] makes one; the zero value stands for no match.
type Match struct {
	host string // in lower case, "*.example.org" for everything below, "" for any
	path string // "/", or without its final slash
}

// ParseMatch reads [HOST]/PATHPREFIX:
//
//	/                   every request
//	/api                /api and everything below it, but not /apix
//	api.example.org/    every request for that host, whatever its port
//	*.example.org/v1    every host below example.org, but not example.org itself
//
// A final dot of the host, in s and in requests, makes no difference.
//
// The prefix is compared by whole segments, in upper and lower case as written, without the query. An error says what
// was expected, what came, and the nearest spelling that would be accepted.
func ParseMatch(s string) (Match, error) {
	m, problem := parseMatch(s)
	if problem == "" {
		return m, nil
	}
	if near, ok := nearestMatch(s); ok {
		return Match{}, fmt.Errorf("match %q: %s; did you mean %q?", s, problem, near)
	}
	return Match{}, fmt.Errorf("match %q: %s", s, problem)
}

// String is a spelling that ParseMatch accepts, and the same for equal matches.
func (m Match) String() string { return m.host + m.path }

// Host is the host in lower case, with a first label "*" for everything below the rest, or "" for any host.
func (m Match) Host() string { return m.host }

// PathPrefix is "/", or a prefix that begins with a slash and does not end in one.
func (m Match) PathPrefix() string { return m.path }

// IsZero says whether there is no match.
func (m Match) IsZero() bool { return m == Match{} }

// parseMatch is ParseMatch with the problem as a phrase; "" means none.
func parseMatch(s string) (Match, string) {
	const want = `expected a path prefix such as "/api", or a host and a path prefix such as "api.example.org/"`
	if strings.Contains(s, "://") {
		return Match{}, want + ", without a scheme"
	}
	host, path, ok := strings.Cut(s, "/")
	if !ok {
		return Match{}, want
	}
	if name, _, ok := strings.Cut(host, ":"); ok {
		return Match{}, fmt.Sprintf("expected the host without a port, because each port matches: %q", name)
	}
	if name := strings.TrimPrefix(host, "*."); host != "" {
		if problem := dnsNameProblem(name); problem != "" || name != strings.ToLower(name) {
			return Match{}, fmt.Sprintf("expected a DNS name in lower case, or one after %q, got %q", "*.", host)
		}
		host = strings.TrimSuffix(host, ".")
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		return Match{}, fmt.Sprintf("expected a path without query and fragment, got %q", path[i:])
	}
	if i := strings.IndexFunc(path, notInPath); i >= 0 {
		return Match{}, "expected a path of letters, digits, slashes and -._~!$&'()+,;=:@"
	}
	if path != "" {
		for segment := range strings.SplitSeq(path, "/") {
			switch segment {
			case "":
				return Match{}, "expected a path without empty segments and without a final slash"
			case ".", "..":
				return Match{}, "expected a path without dot segments"
			}
		}
	}
	return Match{host: host, path: "/" + path}, ""
}

// nearestMatch repairs the usual slips in s. What it proposes has been parsed.
func nearestMatch(s string) (string, bool) {
	near := strings.TrimSpace(s)
	if _, after, ok := strings.Cut(near, "://"); ok {
		near = after
	}
	if i := strings.IndexAny(near, "?#"); i >= 0 {
		near = near[:i]
	}
	host, path, _ := strings.Cut(near, "/")
	host, _, _ = strings.Cut(host, ":")
	host = strings.TrimRight(strings.ToLower(host), ".")
	var kept strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		if segment = strings.TrimRight(segment, "*"); segment != "" && segment != "." && segment != ".." {
			kept.WriteString("/" + segment)
		}
	}
	near = host + cmp.Or(kept.String(), "/")
	_, problem := parseMatch(near)
	return near, problem == "" && near != s
}

// notInPath leaves out the percent sign: Envoy compares paths as they were sent, in which a letter has many spellings.
// And it leaves out the asterisk, which would look like a pattern.
func notInPath(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("/-._~!$&'()+,;=:@", r)
}
