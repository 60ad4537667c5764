package check

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// A page of a pod comes through the API server, with its text also when it is an error.
func TestPageOfPod(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "[-]identity failed\n", r.URL)
	}))
	t.Cleanup(server.Close)
	api, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	late := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "spire-injector", Name: "late"}}
	text, err := Gatherer{Client: api}.ask(t.Context(), late, "8081", "/readyz", map[string]string{"verbose": ""})
	if want := "[-]identity failed\n/api/v1/namespaces/spire-injector/pods/http:late:8081/proxy/readyz?verbose="; err == nil || text != want {
		t.Errorf("expected an error and %q, got %v and %q", want, err, text)
	}
}
