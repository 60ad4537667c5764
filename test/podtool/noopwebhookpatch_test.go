package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckPatch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ patch, wantErr string }{
		"one operation":    {patch: `[{"op": "add", "path": "/metadata/labels/a", "value": "b"}]`},
		"the whole object": {patch: `[{"op": "replace", "path": "", "value": {}}]`},
		"no JSON":          {patch: `op: add`, wantErr: "invalid character"},
		"a merge patch":    {patch: `{"metadata": {"labels": {"a": "b"}}}`, wantErr: "cannot unmarshal object"},
		"nothing":          {patch: `[]`, wantErr: "got no operations"},
		"no operation":     {patch: `[{"op": "add", "path": "/a"}, {"path": "/a"}]`, wantErr: "without op or path at index 1"},
		"no path":          {patch: `[{"op": "add"}]`, wantErr: "without op or path at index 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkPatch([]byte(tt.patch))
			if tt.wantErr == "" && err != nil {
				t.Errorf("expected no error, got %v", err)
			}
			if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("expected an error with %q, got %v", tt.wantErr, err)
			}
		})
	}
}

// TestNoopWebhookWithoutItsPatch: it must not serve as if no patch had been asked for.
func TestNoopWebhookWithoutItsPatch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "patch.json")
	start := func() result {
		return runCommand(t.Context(), "noop-webhook", "--namespace", "bench", "--name", "constant", "--patch", file)
	}
	if got := start(); got.code != exitFailed || !strings.Contains(got.stderr, "--patch: open "+file) {
		t.Errorf("without the file: expected exit code %d and the file's name, got %+v", exitFailed, got)
	}
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := start(); got.code != exitFailed || !strings.Contains(got.stderr, "--patch: "+file+": expected a JSON patch") {
		t.Errorf("with another file: expected exit code %d and what is expected, got %+v", exitFailed, got)
	}
}
