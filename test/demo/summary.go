package main

import (
	"encoding/json"
	"io"
	"time"
)

// summary is what -o json prints.
type summary struct {
	OK              bool          `json:"ok"`
	Error           string        `json:"error,omitempty"`
	Kubeconfig      string        `json:"kubeconfig,omitempty"`
	Seconds         float64       `json:"seconds"`
	ClusterSeconds  float64       `json:"clusterSeconds"`  // for programs, images and the cluster
	PlatformSeconds float64       `json:"platformSeconds"` // for SPIRE and the injector
	Steps           []stepSummary `json:"steps"`
}

type stepSummary struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Facts   any     `json:"facts,omitempty"`
}

func (sum *summary) add(name string, facts any, took time.Duration, err error) {
	sum.Steps = append(sum.Steps, stepSummary{Name: name, OK: err == nil, Seconds: rounded(took), Facts: facts})
}

func (sum *summary) end(err error, took time.Duration) {
	sum.OK, sum.Seconds = err == nil, rounded(took)
	if err != nil {
		sum.Error = err.Error()
	}
}

func (sum *summary) write(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(sum)
}

// rounded is a duration in seconds, to the hundredth.
func rounded(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond).Milliseconds()) / 1000
}
