package test

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTargetsInDocuments(t *testing.T) {
	makefile, err := fs.ReadFile(repository(), "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t, repository()) {
		for _, target := range unknownTargets(string(makefile), d) {
			t.Errorf("%s: make %s: the Makefile has no such target", d.path, target)
		}
	}
}

func TestUnknownTargetsAreFound(t *testing.T) {
	const makefile = "build: lint ## Build\n\tgo build\nV := x\ndemo-%:\n\tgo run\n"
	for text, want := range map[string]string{
		"`make build`": "", "`make demo-NAME`": "", "make it": "", "```console\n$ make build VERSION=v1\n```\n": "", "`make build`, then": "",
		"`make biuld`": "biuld", "```console\n$ make help   # all\n```\n": "help", "`make V`": "V",
	} {
		if got := strings.Join(unknownTargets(makefile, parse("README.md", text)), " "); got != want {
			t.Errorf("%q: expected %q, got %q", text, want, got)
		}
	}
}

var (
	inlineCode   = regexp.MustCompile("`[^`\n]+`")
	makeTarget   = regexp.MustCompile(`\bmake ([a-zA-Z0-9-]+)`)
	targetOfRule = regexp.MustCompile(`(?m)^([a-z0-9%-]+):(?:[^=]|$)`)
)

// unknownTargets are what a document's code has make build and the Makefile does not.
func unknownTargets(makefile string, d document) []string {
	var rules []*regexp.Regexp
	for _, match := range targetOfRule.FindAllStringSubmatch(makefile, -1) {
		rules = append(rules, regexp.MustCompile("^"+strings.ReplaceAll(match[1], "%", ".+")+"$"))
	}
	code := inlineCode.FindAllString(d.prose, -1)
	for _, b := range d.code {
		code = append(code, b.text)
	}
	var unknown []string
	for _, match := range makeTarget.FindAllStringSubmatch(strings.Join(code, "\n"), -1) {
		if !slices.ContainsFunc(rules, func(rule *regexp.Regexp) bool { return rule.MatchString(match[1]) }) {
			unknown = append(unknown, match[1])
		}
	}
	return unknown
}

func TestTestsInDocuments(t *testing.T) {
	known := testNames(t, repository())
	if len(known) < 100 {
		t.Fatalf("found %d tests, expected those of the whole project", len(known))
	}
	for _, d := range documents(t, repository()) {
		for _, name := range unknownTests(known, d) {
			t.Errorf("%s: there is no %s", d.path, name)
		}
	}
}

func TestUnknownTestsAreFound(t *testing.T) {
	files := fstest.MapFS{
		"a/a_test.go":                    {Data: []byte("func TestReal(t *testing.T) {}\n")},
		"a/a.go":                         {Data: []byte("func TestElsewhere() {}\n")},
		"test/golden/cases/server.txtar": {},
	}
	known := testNames(t, files)
	for text, want := range map[string]string{
		"`TestReal` is real": "", "`TestReal`, `TestRael`": "TestRael", "`TestElsewhere`": "TestElsewhere", "Testing": "",
		"`TestCorpus` (`server`, `client`)": "TestCorpus TestCorpus/client",
	} {
		if got := strings.Join(unknownTests(known, parse("README.md", text)), " "); got != want {
			t.Errorf("%q: expected %q, got %q", text, want, got)
		}
	}
}

var (
	testName     = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]*\b`)
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	namedCases   = regexp.MustCompile("`TestCorpus` \\(([^)]*)\\)")
)

// testNames are the tests of a repository, and the cases of the corpus as TestCorpus/NAME.
func testNames(t *testing.T, repository fs.FS) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if of, isCase := strings.CutPrefix(name, "test/golden/cases/"); isCase {
			names["TestCorpus/"+strings.TrimSuffix(of, path.Ext(of))] = true
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := fs.ReadFile(repository, name)
		for _, match := range testFunction.FindAllSubmatch(data, -1) {
			names[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// unknownTests are the tests and cases that a document names and the sources do not have.
func unknownTests(known map[string]bool, d document) []string {
	names := testName.FindAllString(d.prose, -1)
	for _, cases := range namedCases.FindAllStringSubmatch(d.prose, -1) {
		for _, name := range inlineCode.FindAllString(cases[1], -1) {
			names = append(names, "TestCorpus/"+strings.Trim(name, "`"))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return known[name] })
}
