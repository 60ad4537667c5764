package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's.
const root = "../.."

// No Go file writes a reason down but this package's table: what emits one takes it from there.
func TestReasonsComeFromTheTable(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "test" || name == "sample" || name == "testdata") {
				return filepath.SkipDir // programs and tests that have reasons of their own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || filepath.Base(filepath.Dir(path)) == "reason" {
			return nil
		}
		files++
		for _, found := range bareReasons(t, path, nil) {
			t.Error(found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("%d files were read, want those of the whole module", files)
	}
}

// What is no reason of the table is found where it is emitted.
func TestBareReasonsAreFound(t *testing.T) {
	for name, source := range map[string]string{
		"event of a recorder": `func f() { recorder.Eventf(pod, nil, "Warning", "Unheard", "Act", "note") }`,
		"old event":           `func f() { recorder.Event(pod, "Warning", "Unheard", "note") }`,
		"own event function":  `func f() { r.event(pod, "Warning", "Unheard", "note") }`,
		"log":                 `func f() { log.Info("entry changed", "reason", "Unheard") }`,
		"metric":              `func f() { m.WithLabelValues("create", "Unheard").Inc() }`,
		"conversion":          `func f() { emit(reason.Reason("Unheard")) }`,
		"constant":            `const ReasonUnheard = "Unheard"`,
		"typed constant":      `const unheard reason.Reason = "Unheard"`,
		"field":               `var s = Step{Why: "Unheard"}`,
	} {
		if found := bareReasons(t, name+".go", "package p\n"+source); len(found) != 1 {
			t.Errorf("%s: found %q, want one", name, found)
		}
	}
	for name, source := range map[string]string{
		"from the table": `func f() { recorder.Eventf(pod, nil, why.EventType(nil), why.String(), "Act", "%s", note) }`,
		"text":           `var p = Plan{Reason: "somebody else's entry is in the way"}`,
		"other labels":   `func f() { m.WithLabelValues("create", "success").Inc() }`,
		"other field":    `func f() { log.Info("changed", "name", "Pod") }`,
	} {
		if found := bareReasons(t, name+".go", "package p\n"+source); len(found) != 0 {
			t.Errorf("%s: found %q, want none", name, found)
		}
	}
}

// like is what reasons look like.
var like = regexp.MustCompile(`^[A-Z][a-z]+[A-Za-z]*$|^SPIRE[A-Z][a-z]+$`)

// emitters are functions that make an event, or a value of a metric's labels.
var emitters = []string{"eventf", "event", "annotatedeventf", "tell", "notify", "warn", "withlabelvalues"}

// bareReasons finds reasons that are written down in a Go file.
func bareReasons(t *testing.T, path string, source any) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	report := func(of ast.Expr) {
		found = append(found, files.Position(of.Pos()).String()+": "+text(of)+" is written down: take it from package reason")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			bareArguments(n, report)
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) && like.MatchString(text(n.Values[i])) && (strings.HasPrefix(name.Name, "Reason") || nameOf(n.Type) == "Reason") {
					report(n.Values[i])
				}
			}
		case *ast.KeyValueExpr:
			if key := nameOf(n.Key); (key == "Why" || key == "Reason") && like.MatchString(text(n.Value)) {
				report(n.Value)
			}
		}
		return true
	})
	return found
}

func bareArguments(call *ast.CallExpr, report func(ast.Expr)) {
	name := strings.ToLower(nameOf(call.Fun))
	words := []string{"Warning", "Normal"}
	for i, arg := range call.Args {
		value := text(arg)
		if !like.MatchString(value) || slices.Contains(words, value) {
			continue
		}
		isAction := name == "eventf" && i >= 4 // (regarding, related, type, reason, action, note)
		isField := i > 0 && text(call.Args[i-1]) == "reason"
		if slices.Contains(emitters, name) && !isAction || name == "reason" || isField {
			report(arg)
		}
	}
}

// text is the value of a string literal; empty for anything else.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return value
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}
