package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/install"
)

// patience is how long to wait for what should take seconds: test machines are slow and shared.
const patience = 2 * time.Minute

// namespace makes a namespace for one test and removes it afterwards. When the test fails, what happened in it is
// told.
func namespace(t *testing.T) string {
	t.Helper()
	return namespaceNamed(t, strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(t.Name(), "Test"), "Disruptive")))
}

// namespaceNamed is namespace for tests whose own name is too long for one.
func namespaceNamed(t *testing.T, what string) string {
	t.Helper()
	// A new name for each run: entries of an earlier one may still be there.
	name := fmt.Sprintf("e2e-%s-%s", what, rand.String(5))
	apply(t, &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			tell(ctx, t, name)
		}
		if _, err := shared.k.Run(ctx, "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply applies objects with the environment's images.
func apply(t *testing.T, objects ...any) {
	t.Helper()
	_, err := shared.k.With(t.Context(), manifest(t, objects...), "apply", "-f", "-")
	must(t, err)
}

func manifest(t *testing.T, objects ...any) string {
	t.Helper()
	var all bytes.Buffer
	for _, object := range objects {
		data, err := json.Marshal(object)
		must(t, err)
		all.WriteString("---\n")
		all.Write(data)
		all.WriteByte('\n')
	}
	return install.WithImages(shared.env, all.String())
}

// refused applies an object that must be refused, and returns what the user reads.
func refused(t *testing.T, object any) string {
	t.Helper()
	_, err := shared.k.With(t.Context(), manifest(t, object), "apply", "-f", "-")
	var failed *command.Error
	if !errors.As(err, &failed) {
		t.Fatalf("expected a refusal, got %v", err)
	}
	return failed.Stderr
}

// eventually calls try until it returns nil, and returns how long that took.
func eventually(t *testing.T, what string, try func() error) time.Duration {
	t.Helper()
	return eventuallyWithin(t, patience, what, try)
}

// eventuallyWithin is eventually for what may take long.
func eventuallyWithin(t *testing.T, patience time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := try()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > patience {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		case <-time.After(nextTry(time.Since(start))):
		}
	}
}

// nextTry is how long to wait before the next try: each takes processor time away from what is waited for, so a long
// wait has few.
func nextTry(waited time.Duration) time.Duration {
	return min(max(waited/10, 200*time.Millisecond), 3*time.Second)
}

func rollout(t *testing.T, namespace string, workloads ...string) {
	t.Helper()
	for _, w := range workloads {
		_, err := shared.k.Run(t.Context(), "--namespace", namespace, "rollout", "status", w, "--timeout", patience.String())
		must(t, err)
	}
}

// in runs a command in the app's container of a workload's pod.
func in(t *testing.T, namespace, workload string, command ...string) (string, error) {
	t.Helper()
	return shared.k.Run(t.Context(), append([]string{"--namespace", namespace, "exec", workload, "--container", "app", "--"}, command...)...)
}

// awaitOK waits until the app of a workload gets ok from the API. At first it may not: the node learns of a pod that is
// ready some time after everybody else does.
func awaitOK(t *testing.T, namespace, workload string) {
	t.Helper()
	eventually(t, workload+" gets ok", func() error {
		out, err := in(t, namespace, workload, "/sample", "get", url)
		if err == nil && out != "ok\n" {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
}

// apiPod returns the only pod of the app api.
func apiPod(t *testing.T, namespace string) corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, "pods", "--namespace", namespace, "--selector", "app=api"))
	if len(pods.Items) != 1 {
		t.Fatalf("expected one pod of app api, got %d", len(pods.Items))
	}
	return pods.Items[0]
}

// entry is what the SPIRE server prints of a registration entry.
type entry struct {
	ID        string                         `json:"id"`
	ExpiresAt string                         `json:"expires_at"` // seconds since 1970; 0: never
	SPIFFEID  entryID                        `json:"spiffe_id"`
	ParentID  entryID                        `json:"parent_id"`
	Selectors []struct{ Type, Value string } `json:"selectors"`
}

// entryID is a SPIFFE ID in an entry.
type entryID struct {
	TrustDomain string `json:"trust_domain"`
	Path        string `json:"path"`
}

// entries are the registration entries of an identity.
func entries(t *testing.T, path string) []entry {
	t.Helper()
	out, err := install.Server(t.Context(), shared.k, "entry", "show", "-spiffeID", "spiffe://example.org"+path, "-output", "json")
	must(t, err)
	var list struct {
		Entries []entry `json:"entries"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("decoding %s: %v", out, err)
	}
	return list.Entries
}

// logLine is one line of Envoy's access log.
type logLine struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	Listener string    `json:"listener"`
	Peer     string    `json:"peer"`
	Subject  string    `json:"subject"`
	Remote   string    `json:"remote"`
	Audit    string    `json:"audit"`
	Self     string    `json:"self"`
	Reason   string    `json:"reason"`
	Details  string    `json:"details"`
	Status   int       `json:"status"`
}

// envoyLog is the access log of a workload's sidecar.
func envoyLog(t *testing.T, namespace, workload string) []logLine {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", namespace, "logs", workload, "--container", "envoy")
	must(t, err)
	var lines []logLine
	for text := range strings.Lines(out) {
		var line logLine
		if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// awaitLog waits for a line of a sidecar's access log.
func awaitLog(t *testing.T, namespace, workload, what string, is func(logLine) bool) {
	t.Helper()
	eventually(t, "a line in the log of the server's Envoy: "+what, func() error {
		lines := envoyLog(t, namespace, workload)
		for _, line := range lines {
			if is(line) {
				return nil
			}
		}
		return fmt.Errorf("not among its %d lines: %+v", len(lines), lines)
	})
}
