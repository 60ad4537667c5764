package intent

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "rewrite the reference in webhook/README.md")

// The reference in webhook/README.md stands between these lines.
const (
	readmePath     = "../README.md"
	referenceBegin = "<!-- reference: written by make golden from the tables in webhook -->\n"
	referenceEnd   = "<!-- end of the reference -->\n"
)

func TestReadmeHasTheReference(t *testing.T) {
	readme, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(readme), referenceBegin)
	got, after, hasEnd := strings.Cut(rest, referenceEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("webhook/README.md: expected the lines %q and %q around the reference", referenceBegin, referenceEnd)
	}
	want := "\n" + MarkdownReference() + "\n"
	if *update {
		if err := os.WriteFile(readmePath, []byte(before+referenceBegin+want+referenceEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the reference in webhook/README.md is stale, run make golden (-want +got):\n%s", diff)
	}
}

func TestReferenceHasEveryAnnotation(t *testing.T) {
	for _, a := range annotations {
		if a.doc == "" || a.parse != nil && a.example == "" {
			t.Errorf("%s: expected a meaning, and an example of what users write", a.key)
		}
		if inHelp, byUsers := strings.Contains(Reference(), a.key+" "), a.parse != nil; inHelp != byUsers {
			t.Errorf("%s: written by users: %t, in the help: %t", a.key, byUsers, inHelp)
		}
	}
}

// The examples are what people copy.
func TestExamplesAreValid(t *testing.T) {
	for _, a := range annotations {
		if a.parse == nil {
			continue
		}
		r := newReader(platform(t), Namespace{}, &corev1.Pod{})
		if problems := a.parse(r, strings.Trim(a.example, `"`)); len(problems) > 0 {
			t.Errorf("%s: the example %q is refused: %v", a.key, a.example, problems[0].err)
		}
	}
}
