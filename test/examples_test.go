package test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// What a newcomer reads first stays short.
func TestReadmeIsShort(t *testing.T) {
	const maxLines, maxWidth = 200, 120
	data, err := fs.ReadFile(repository(), "README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) > maxLines {
		t.Errorf("README.md has %d lines, expected at most %d: put details beside what they describe", len(lines), maxLines)
	}
	for i, line := range lines {
		if width := len([]rune(line)); width > maxWidth && !strings.HasPrefix(line, "|") {
			t.Errorf("README.md:%d has %d characters, expected at most %d", i+1, width, maxWidth)
		}
	}
}

// The examples are what people copy. A script of the command injects them.
func TestExamplesAreTried(t *testing.T) {
	script, err := fs.ReadFile(repository(), "cmd/spire-injector/testdata/script/readme.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range txtar.Parse(script).Files {
		files[f.Name] = string(f.Data)
	}
	tried := linesOf(strings.Join([]string{files["ten-lines.yaml"], files["caller.yaml"], files["examples.yaml"], files["claims.yaml"]}, ""))
	for _, d := range documents(t, repository()) {
		if d.path != "README.md" && d.path != "webhook/README.md" && d.path != "manifests/README.md" {
			continue
		}
		for _, b := range d.code {
			switch {
			case b.language == "diff":
				for sign, file := range map[string]string{"-": "before.yaml", "+": "after.yaml"} {
					if got := sideOf(b.text, sign); got != files[file] {
						t.Errorf("%s: the lines %q and those of both sides are not %s of the script:\n%s", d.path, sign, file, got)
					}
				}
			case strings.Contains(b.text, "clusterSPIFFEIDs"): // values of charts that are not ours
			case b.language == "yaml" && (strings.Contains(b.text, "spiffe.io/") || strings.Contains(b.text, "claims:")):
				for _, line := range linesOf(b.text) {
					if !slices.Contains(tried, line) {
						t.Errorf("%s: no script tries %q", d.path, line)
					}
				}
			case strings.Contains(b.text, "inject -f mistake.yaml"):
				for line := range strings.Lines(b.text) {
					said, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "…")
					if !strings.HasPrefix(line, "$") && !strings.Contains(files["mistake.txt"], said) {
						t.Errorf("%s: the command does not print %q", d.path, said)
					}
				}
			}
		}
	}
}

// linesOf are the lines of YAML without indentation and comments.
func linesOf(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "  #")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// sideOf is one side of a diff.
func sideOf(diff, sign string) string {
	var out strings.Builder
	for line := range strings.Lines(diff) {
		if line[:1] == sign || line[:1] == " " {
			out.WriteString(line[1:])
		}
	}
	return out.String()
}
