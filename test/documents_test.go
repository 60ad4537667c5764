package test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// repository is the project, read only.
func repository() fs.FS { return os.DirFS("..") }

// document is a Markdown file.
type document struct {
	path  string // from the top of the repository
	prose string // all but blocks of code, with which it has the same lines
	code  []block
}

// block is a fenced block of code, with the language that its fence names.
type block struct{ language, text string }

var fence = regexp.MustCompile("^ *```(.*)$")

func parse(path, text string) document {
	d := document{path: path}
	var prose strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch opening := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n")); {
		case opening != nil && !inside:
			d.code, inside = append(d.code, block{language: opening[1]}), true
		case opening != nil:
			inside = false
		case inside:
			d.code[len(d.code)-1].text += line
		default:
			prose.WriteString(line)
			continue
		}
		prose.WriteString("\n")
	}
	d.prose = prose.String()
	return d
}

// documents are all Markdown files of a repository.
func documents(t *testing.T, repository fs.FS) []document {
	t.Helper()
	var out []document
	err := fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || entry.Name() == "testdata" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case !entry.IsDir() && path.Ext(name) == ".md":
			data, err := fs.ReadFile(repository, name)
			if err != nil {
				return err
			}
			out = append(out, parse(name, string(data)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
