package kubectl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/command"
)

// server is as much of an API server as commands about one kind need.
type server struct {
	kubeconfig string
	kinds      atomic.Pointer[[]metav1.APIResource]
	asked      atomic.Int32 // how often for its kinds
}

func start(t *testing.T, pods http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.kinds.Store(&[]metav1.APIResource{kind("pods", "Pod")})
	mux := http.NewServeMux()
	mux.HandleFunc("/api", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	})
	mux.HandleFunc("/apis", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}})
	})
	mux.HandleFunc("/api/v1", func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		answer(w, http.StatusOK, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1", APIResources: *s.kinds.Load(),
		})
	})
	mux.HandleFunc("/api/v1/namespaces/", pods)
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	s.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
clusters: [{name: c, cluster: {server: %q}}]}`, api.URL)
	if err := os.WriteFile(s.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func kind(name, kind string) metav1.APIResource {
	return metav1.APIResource{Name: name, SingularName: strings.ToLower(kind), Kind: kind, Namespaced: true, Verbs: metav1.Verbs{"create", "get", "list"}}
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// named answers with the object that is asked for, in its namespace.
func named(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	kind := map[string]string{"pods": "Pod", "widgets": "Widget"}[parts[1]]
	answer(w, http.StatusOK, metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}, ObjectMeta: metav1.ObjectMeta{Namespace: parts[0], Name: parts[2]},
	})
}

const pod = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api"}, "spec": {}}`

func TestStandardInput(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		answer(w, http.StatusCreated, object)
	})
	stdout, stderr, err := Run(t.Context(), s.kubeconfig, pod, "--namespace", "shop", "create", "--validate=false", "-f", "-")
	if err != nil || stdout != "pod/api created\n" {
		t.Errorf("expected the pod created, got %q, %q, %v", stdout, stderr, err)
	}
}

func TestRefusal(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", `299 - "mind the gap"`)
		answer(w, http.StatusForbidden, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "no peer",
		})
	})
	stdout, stderr, err := Run(t.Context(), s.kubeconfig, pod, "--namespace", "shop", "create", "--validate=false", "-f", "-")
	if err == nil || err.Error() != "exit status 1" || stdout != "" {
		t.Errorf("expected exit status 1 and no output, got %v, %q", err, stdout)
	}
	want := "Warning: mind the gap\n" + `Error from server (Forbidden): error when creating "STDIN": no peer` + "\n"
	if stderr != want {
		t.Errorf("expected\n%sgot\n%s", want, stderr)
	}
}

// What is not here runs as a process, and so does what kubectl itself has to refuse.
func TestUnknownCommand(t *testing.T) {
	s := start(t, named)
	for _, args := range [][]string{{"run", "a", "--image", "a"}, {"fetch", "pods"}, {}} {
		if _, _, err := Run(t.Context(), s.kubeconfig, "", args...); !errors.Is(err, command.ErrNeedsProcess) {
			t.Errorf("%q: expected %v, got %v", args, command.ErrNeedsProcess, err)
		}
	}
}

// Commands that run at the same time do not see each other's flags and outputs, and ask once for the server's kinds.
func TestCommandsAtTheSameTime(t *testing.T) {
	s := start(t, named)
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			namespace, name := fmt.Sprintf("ns-%d", n), fmt.Sprintf("pod-%d", n)
			stdout, stderr, err := Run(t.Context(), s.kubeconfig, "", "get", "-o", "json", "--namespace", namespace, "pod", name)
			var got metav1.PartialObjectMetadata
			if err == nil {
				err = json.Unmarshal([]byte(stdout), &got)
			}
			if err != nil || got.Namespace != namespace || got.Name != name {
				t.Errorf("expected pod %s/%s, got %q, %q, %v", namespace, name, stdout, stderr, err)
			}
		})
	}
	all.Wait()
	if asked := s.asked.Load(); asked != 1 {
		t.Errorf("the server was asked for its kinds %d times, expected once", asked)
	}
}

func TestKindThatComesLater(t *testing.T) {
	s := start(t, named)
	get := func() (string, error) {
		_, stderr, err := Run(t.Context(), s.kubeconfig, "", "get", "--namespace", "shop", "widget", "one")
		return stderr, err
	}
	if stderr, err := get(); err == nil || !strings.Contains(stderr, `the server doesn't have a resource type "widget"`) {
		t.Errorf("expected a message about the kind, got %q, %v", stderr, err)
	}
	s.kinds.Store(&[]metav1.APIResource{kind("pods", "Pod"), kind("widgets", "Widget")})
	if stderr, err := get(); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
}

func TestEndOfContext(t *testing.T) {
	asked, over := make(chan struct{}), make(chan struct{})
	s := start(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	})
	defer close(over)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, _, err := Run(ctx, s.kubeconfig, "", "get", "--namespace", "shop", "pod", "api"); !errors.Is(err, context.Canceled) {
		t.Errorf("expected the context's end, got %v", err)
	}
}

// What needs no cluster runs without a kubeconfig.
func TestKustomize(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte("namePrefix: a-\nresources: [pod.json]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "pod.json"), []byte(pod), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := Run(t.Context(), os.DevNull, "", "kustomize", folder)
	if err != nil || !strings.Contains(stdout, "name: a-api") {
		t.Errorf("got %q, %q, %v", stdout, stderr, err)
	}
}
