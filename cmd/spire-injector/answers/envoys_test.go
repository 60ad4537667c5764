package answers

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

const certificates = `{"certificates": [{"ca_cert": [], "cert_chain": [{"path": "<inline>", "serial_number": "1",
 "subject_alt_names": [{"uri": "spiffe://example.org/ns/shop/api"}], "days_until_expiration": "0",
 "valid_from": "2026-01-01T11:00:00Z", "expiration_time": "2026-01-01T12:00:00Z"}]},
 {"cert_chain": [{"subject_alt_names": [{"uri": "spiffe://example.org/ns/shop/api"}],
 "valid_from": "2026-01-01T11:30:00Z", "expiration_time": "2026-01-01T12:30:00Z"}]}]}`

// apiServer passes requests on to pods, as an API server does: by pods/proxy, and by pods/portforward over SPDY.
func apiServer(t *testing.T, pages map[string]string) Envoys {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/portforward") {
			forwardTo(t, w, r, pages)
			return
		}
		answer, ok := pages[r.URL.Path[strings.Index(r.URL.Path, "/pods/")+len("/pods/"):]]
		if r.URL.RawQuery != "" { // Envoy has pages of a path alone
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"error trying to reach service: connection refused"}`)
			return
		}
		if answer == "503" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	e, err := NewEnvoys(&rest.Config{Host: server.URL, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// forwardTo serves a connection to a pod's loopback.
func forwardTo(t *testing.T, w http.ResponseWriter, r *http.Request, pages map[string]string) {
	if _, err := httpstream.Handshake(r, w, []string{forwardProtocol}); err != nil {
		t.Error(err)
		return
	}
	streams := make(chan httpstream.Stream, 2)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if connection == nil {
		return
	}
	defer func() { _ = connection.Close() }()
	errors, data := <-streams, <-streams
	if port := data.Headers().Get(corev1.PortHeader); port != "15000" {
		t.Errorf("expected port 15000, got %s", port)
	}
	request, err := http.ReadRequest(bufio.NewReader(data))
	if err != nil {
		t.Error(err)
		return
	}
	page, ok := pages["admin"+request.URL.Path]
	if !ok {
		fmt.Fprint(errors, "connection refused by nobody there")
		_ = errors.Close()
		_ = data.Close()
	} else {
		fmt.Fprintf(data, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
		_ = data.Close()
		_ = errors.Close()
	}
	<-connection.CloseChan()
}

func shopPod(name string) Pod {
	return Pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}}
}

// What Envoys say comes through the API server, over its proxy and into the pod's own network.
func TestAskEnvoys(t *testing.T) {
	t.Parallel()
	e := apiServer(t, map[string]string{
		"http:api-1:15021/proxy/ready":     "",
		"http:api-1:15021/proxy/ready/app": "503",
		"admin/certs":                      certificates,
		"http:api-1:15021/proxy/updates":   `{"stats":[{"name":"listener_manager.lds.update_rejected","value":2}]}`,
	})
	var f Facts
	e.Ask(t.Context(), &f, []Pod{shopPod("api-1")}, Questions{Readiness: true})
	e.Ask(t.Context(), &f, []Pod{shopPod("api-1")}, Questions{Certificates: true, Updates: true})
	told := f.Told["shop/api-1"]
	if told.Err != nil || !told.appIsSilent() || told.Updates["listeners.yaml"].Refused != 2 {
		t.Errorf("got %+v", told)
	}
	want := time.Date(2026, 1, 1, 12, 30, 0, 0, time.UTC)
	if told.SVID == nil || !told.SVID.Until.Equal(want) || told.SVID.ID != "spiffe://example.org/ns/shop/api" {
		t.Errorf("expected the SVID that ends last, got %+v", told.SVID)
	}
}

// A pod that does not answer, and an answer without end, are errors and nothing that a pod said.
func TestAskSilentEnvoys(t *testing.T) {
	t.Parallel()
	e := apiServer(t, map[string]string{"http:big:15021/proxy/ready": strings.Repeat("x", mostAnswer+1)})
	var f Facts
	e.Ask(t.Context(), &f, []Pod{shopPod("gone"), shopPod("big")}, Questions{Readiness: true, Certificates: true})
	for pod, parts := range map[string][]string{
		"shop/gone": {"error trying to reach service: connection refused", "connection refused by nobody there"},
		"shop/big":  {"expected at most 1048576 bytes"},
	} {
		told := f.Told[pod]
		if told.Ports != nil || told.SVID != nil || told.AskedSVID || told.Err == nil {
			t.Errorf("%s: got %+v", pod, told)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(told.Err.Error(), part) {
				t.Errorf("%s: expected %q, got %v", pod, part, told.Err)
			}
		}
	}
}
