package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestHealthOverHTTP(t *testing.T) {
	t.Parallel()
	api := newAPIHandler("here", newHealth("X-Probe: yes"), slog.New(slog.DiscardHandler))
	probe := func(target, header string) (int, string) {
		request := httptest.NewRequest("GET", target, nil)
		request.Header.Set("X-Probe", header)
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, request)
		return recorder.Code, recorder.Body.String()
	}
	server := httptest.NewServer(api)
	defer server.Close()
	turn := func(kind, value string) {
		if got := runCommand(t.Context(), "health", kind, value, "--address", server.Listener.Addr().String()); got.code != exitOK {
			t.Errorf("turning %s %s: %+v", kind, value, got)
		}
	}
	for _, step := range []struct {
		turn, kind, header string
		status             int
		body               string
	}{
		{"", "liveness", "yes", 200, "on\n"},
		{"", "liveness", "no", 400, "expected the header X-Probe: yes\n"},
		{"off", "liveness", "yes", 503, "off\n"},
		{"", "readiness", "yes", 200, "on\n"},
		{"on", "liveness", "yes", 200, "on\n"},
		{"", "lively", "yes", 404, "expected one of startup, liveness, readiness, got \"lively\"\n"},
	} {
		if step.turn != "" {
			turn(step.kind, step.turn)
		}
		if code, body := probe("/healthz/"+step.kind+"?x=1", step.header); code != step.status || body != step.body {
			t.Errorf("%+v: got %d %q", step, code, body)
		}
	}

	_, body := probe("/healthz", "")
	var told map[string]kindHealth
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatal(err)
	}
	last := func(kind string) *arrived {
		return &arrived{
			Method: "GET", URI: "/healthz/" + kind + "?x=1", Protocol: "HTTP/1.1", Host: "example.com", Headers: http.Header{"X-Probe": {"yes"}},
		}
	}
	want := map[string]kindHealth{
		"startup":   {On: true},
		"liveness":  {On: true, Asked: 4, Refused: 1, Last: last("liveness")},
		"readiness": {On: true, Asked: 1, Last: last("readiness")},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("what /healthz tells (-want +got):\n%s", diff)
	}
}

// TestHealthOverGRPC: what is switched over HTTP holds for gRPC too.
func TestHealthOverGRPC(t *testing.T) {
	t.Parallel()
	api := startAPI(t)
	connection, err := grpc.NewClient("passthrough:///"+api.at("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	check := func(kind string) string {
		response, err := healthpb.NewHealthClient(connection).Check(t.Context(), &healthpb.HealthCheckRequest{Service: kind})
		if err != nil {
			return status.Code(err).String()
		}
		return response.GetStatus().String()
	}
	if got := runCommand(t.Context(), "health", "readiness", "off", "--address", api.at("http")); got.code != exitOK {
		t.Fatalf("turning readiness off: %+v", got)
	}
	for kind, want := range map[string]string{"": "SERVING", "liveness": "SERVING", "readiness": "NOT_SERVING", "lively": "NotFound"} {
		if got := check(kind); got != want {
			t.Errorf("%q: expected %s, got %s", kind, want, got)
		}
	}
}
