package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// newTestAPI is the API's handler, by the name of "here".
func newTestAPI() http.Handler { return newAPIHandler("here") }

func TestAPIAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, target string
		status         int
		body           string
	}{
		{method: "GET", target: "/api", status: 200, body: "ok\n"},
		{method: "POST", target: "/api", status: 405, body: "Method Not Allowed\n"},
		{method: "GET", target: "/", status: 404, body: "404 page not found\n"},
	} {
		recorder := httptest.NewRecorder()
		newTestAPI().ServeHTTP(recorder, httptest.NewRequest(test.method, test.target, nil))
		if recorder.Code != test.status || recorder.Body.String() != test.body {
			t.Errorf("%s %s: got %d %q, want %d %q", test.method, test.target, recorder.Code, recorder.Body.String(), test.status, test.body)
		}
	}
}

func TestEchoAnswersWithWhatArrived(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequest("GET", "/echo/a?b=c", nil)
	request.Header.Set("X-Forged", "yes")
	recorder := httptest.NewRecorder()
	newTestAPI().ServeHTTP(recorder, request)
	var got arrived
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := arrived{
		Pod:      "here",
		Method:   "GET",
		URI:      "/echo/a?b=c",
		Protocol: "HTTP/1.1",
		Host:     "example.com",
		Headers:  http.Header{"X-Forged": {"yes"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if pod := recorder.Header().Get("X-Pod"); pod != "here" {
		t.Errorf("expected X-Pod: here, got %q", pod)
	}
}
