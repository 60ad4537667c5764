package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// healthKinds are what can be switched on and off apart: the kinds of a container's probes.
var healthKinds = []string{"startup", "liveness", "readiness"}

// health is what the probes of all protocols ask for. It may be used from many goroutines.
type health struct {
	headerName, headerValue string // what GET /healthz/KIND demands; empty: nothing

	mu    sync.Mutex
	kinds map[string]*kindHealth
}

// kindHealth is one element of what GET /healthz answers.
type kindHealth struct {
	On bool `json:"on"`
	// Asked counts the probes of any protocol, Refused those of them that lacked the demanded header.
	Asked   int `json:"asked"`
	Refused int `json:"refused"`
	// Last is the last probe that came over HTTP or HTTPS.
	Last *arrived `json:"last,omitempty"`
}

// newHealth returns a state in which everything is on. The header is "Name: value" or empty.
func newHealth(header string) *health {
	name, value, _ := strings.Cut(header, ":")
	state := &health{headerName: strings.TrimSpace(name), headerValue: strings.TrimSpace(value), kinds: map[string]*kindHealth{}}
	for _, kind := range healthKinds {
		state.kinds[kind] = &kindHealth{On: true}
	}
	return state
}

func (h *health) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", h.tell)
	mux.HandleFunc("GET /healthz/{kind}", h.probe)
	mux.HandleFunc("PUT /healthz/{kind}", h.change)
}

// ask counts a probe and says whether the kind is on. A kind that does not exist is not known.
func (h *health) ask(kind string, came *arrived, refused bool) (on, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state, known := h.kinds[kind]
	if !known {
		return false, false
	}
	state.Asked++
	if came != nil {
		state.Last = came
	}
	if refused {
		state.Refused++
	}
	return state.On, true
}

func (h *health) tell(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	told := map[string]kindHealth{}
	for kind, state := range h.kinds {
		told[kind] = *state
	}
	h.mu.Unlock()
	writeJSON(w, told)
}

func (h *health) probe(w http.ResponseWriter, r *http.Request) {
	came := describeRequest(r)
	refused := h.headerName != "" && !slices.Contains(r.Header.Values(h.headerName), h.headerValue)
	on, known := h.ask(r.PathValue("kind"), &came, refused)
	switch {
	case !known:
		http.Error(w, unknownKind(r.PathValue("kind")).Error(), http.StatusNotFound)
	case refused:
		http.Error(w, fmt.Sprintf("expected the header %s: %s", h.headerName, h.headerValue), http.StatusBadRequest)
	case !on:
		http.Error(w, "off", http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "on\n")
	}
}

func (h *health) change(w http.ResponseWriter, r *http.Request) {
	body, err := readExcerpt(r.Body)
	if err != nil {
		return // the caller broke off
	}
	value := strings.TrimSpace(body)
	if value != "on" && value != "off" {
		http.Error(w, fmt.Sprintf("expected the body on or off, got %q", value), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state, known := h.kinds[r.PathValue("kind")]
	if !known {
		http.Error(w, unknownKind(r.PathValue("kind")).Error(), http.StatusNotFound)
		return
	}
	state.On = value == "on"
	_, _ = io.WriteString(w, value+"\n")
}

func unknownKind(kind string) error {
	return fmt.Errorf("expected one of %s, got %q", strings.Join(healthKinds, ", "), kind)
}
