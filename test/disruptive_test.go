package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// The Makefile gives end-to-end tests whose names begin so a cluster of their own.
const disruptive = "TestDisruptive"

func TestDisruptiveTestsAreNamedSo(t *testing.T) {
	for _, problem := range misnamed(t, repository(), "test/e2e") {
		t.Error(problem)
	}
}

func TestMisnamedTestsAreFound(t *testing.T) {
	files := fstest.MapFS{"e2e/a_test.go": {Data: []byte(`package e2e

func TestMain(m *testing.M) {}

func TestBeside(t *testing.T) { t.Parallel() }

func TestAlone(t *testing.T) {}

func TestDisruptiveAlone(t *testing.T) {}

func TestDisruptiveBeside(t *testing.T) { t.Parallel() }
`)}}
	got := strings.Join(misnamed(t, files, "e2e"), "\n")
	want := "TestAlone does not call t.Parallel: call it, or begin its name with TestDisruptive\n" +
		"TestDisruptiveBeside calls t.Parallel: tests that disturb the others run alone"
	if got != want {
		t.Errorf("expected\n%s\ngot\n%s", want, got)
	}
}

// misnamed says of which tests of a folder the name and t.Parallel disagree.
func misnamed(t *testing.T, files fs.FS, folder string) []string {
	t.Helper()
	paths, err := fs.Glob(files, folder+"/*_test.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("tests in %s: found %d files, error %v", folder, len(paths), err)
	}
	var problems []string
	for _, path := range paths {
		source, err := fs.ReadFile(files, path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv != nil || !strings.HasPrefix(function.Name.Name, "Test") || function.Name.Name == "TestMain" {
				continue
			}
			switch name, beside := function.Name.Name, callsParallel(function); {
			case beside && strings.HasPrefix(name, disruptive):
				problems = append(problems, name+" calls t.Parallel: tests that disturb the others run alone")
			case !beside && !strings.HasPrefix(name, disruptive):
				problems = append(problems, name+" does not call t.Parallel: call it, or begin its name with "+disruptive)
			}
		}
	}
	return problems
}

// callsParallel says whether one of the function's own statements is t.Parallel(): those of its subtests do not count.
func callsParallel(function *ast.FuncDecl) bool {
	for _, statement := range function.Body.List {
		expression, ok := statement.(*ast.ExprStmt)
		if !ok {
			continue
		}
		call, ok := expression.X.(*ast.CallExpr)
		if !ok {
			continue
		}
		if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Parallel" {
			return true
		}
	}
	return false
}
