package api

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// stageWith is a stage whose kubectl is a shell script.
func stageWith(t *testing.T, script string) stage {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return stage{scene.New(environment.Environment{Kubectl: path, Kubeconfig: "/nowhere"}, t.TempDir())}
}

func TestCallsAreJudgedByWhatCame(t *testing.T) {
	if _, err := stageWith(t, `echo ok`).Allowed(t.Context(), Valid); err != nil {
		t.Errorf("an ok: %v", err)
	}
	for _, script := range []string{`echo no`, `echo ok; exit 1`, `echo 'ok, but'`} {
		_, err := stageWith(t, script).Allowed(t.Context(), Valid)
		wantMismatch(t, err, "call of "+Valid)
	}
	for _, script := range []string{`echo ok`, `echo 'no healthy upstream'; exit 1`, `echo '` + refusedBody + `'`} {
		_, err := stageWith(t, script).Refused(t.Context(), Invalid)
		wantMismatch(t, err, "call of "+Invalid)
	}
}
