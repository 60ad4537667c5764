package test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

func TestLinksOfDocuments(t *testing.T) {
	for _, d := range documents(t, repository()) {
		for _, broken := range brokenLinks(repository(), d) {
			t.Errorf("%s: %s", d.path, broken)
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	const text = "# A title\n\n## A `b`: c's\n## Same\n## Same\n```\n[code](code.md)\n```\n"
	files := fstest.MapFS{"a/README.md": {Data: []byte(text)}, "README.md": {Data: []byte("# Top\n")}}
	for link, want := range map[string]string{
		"README.md": "", "#a-b-cs": "", "#same-1": "", "../README.md#top": "", "..": "", "https://example.org/x": "",
		"missing.md": "missing.md is not there", "#a-b": "a/README.md has no heading #a-b", "../README.md#down": "README.md has no heading #down",
		"../../README.md": "outside of the repository", "#same-2": "a/README.md has no heading #same-2",
	} {
		d := parse("a/README.md", text+"[text]("+link+")\n")
		if got := strings.Join(brokenLinks(files, d), "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: expected %q, got %q", link, want, got)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// brokenLinks says of each link into the repository that leads nowhere what is missing.
func brokenLinks(repository fs.FS, d document) []string {
	var broken []string
	for _, match := range link.FindAllStringSubmatch(d.prose, -1) {
		file, anchor, hasAnchor := strings.Cut(match[1], "#")
		if strings.Contains(file, "://") {
			continue
		}
		target := path.Join(path.Dir(d.path), file)
		if file == "" {
			target = d.path
		}
		if !fs.ValidPath(target) {
			broken = append(broken, match[1]+" is outside of the repository")
			continue
		}
		if _, err := fs.Stat(repository, target); err != nil {
			broken = append(broken, target+" is not there")
			continue
		}
		if !hasAnchor {
			continue
		}
		data, err := fs.ReadFile(repository, target)
		if err != nil || !slices.Contains(anchors(parse(target, string(data))), anchor) {
			broken = append(broken, fmt.Sprintf("%s has no heading #%s", target, anchor))
		}
	}
	return broken
}

// anchors are the fragments by which GitHub finds a document's headings.
func anchors(d document) []string {
	var out []string
	seen := map[string]int{}
	for line := range strings.Lines(d.prose) {
		title, isHeading := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !isHeading || !strings.HasPrefix(line, "#") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		n := seen[anchor]
		seen[anchor]++
		if n > 0 {
			anchor = fmt.Sprintf("%s-%d", anchor, n)
		}
		out = append(out, anchor)
	}
	return out
}
