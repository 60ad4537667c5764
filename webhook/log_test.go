package webhook

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Whatever a forged request claims is one line, of bounded length, and under one key.
func TestClaimsInTheLog(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	var out bytes.Buffer
	base := logr.FromSlogHandler(slog.NewJSONHandler(&out, nil))
	LogClaims(base, nil).Info("no request")
	LogClaims(base, &admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID:       "1",
		UserInfo:  authenticationv1.UserInfo{Username: "system:admin\n{\"level\":\"ERROR\"}"},
		Resource:  metav1.GroupVersionResource{Resource: "pods"},
		Namespace: long,
		Name:      "web",
	}}).Info("refused", "reason", "Mistake")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("expected two lines, got %d", len(lines))
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[1]), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	short := intent.Cut(long, maxClaim)
	want := map[string]any{"level": "INFO", "msg": "refused", "reason": "Mistake", "request": map[string]any{
		"uid": "1", "user": "system:admin\n{\"level\":\"ERROR\"}", "resource": "pods",
		"namespace": short, "name": "web",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
