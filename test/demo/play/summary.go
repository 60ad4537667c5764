package play

import (
	"encoding/json"
	"io"
	"time"
)

// Summary is what came of a demo.
type Summary struct {
	Demo            string        `json:"demo"`
	OK              bool          `json:"ok"`
	Error           string        `json:"error,omitempty"`
	Kubeconfig      string        `json:"kubeconfig,omitempty"`
	Seconds         float64       `json:"seconds"`
	ClusterSeconds  float64       `json:"clusterSeconds"`  // for programs, images and the cluster
	PlatformSeconds float64       `json:"platformSeconds"` // for SPIRE and the injector
	Steps           []StepSummary `json:"steps"`
}

// StepSummary is what came of a step.
type StepSummary struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Facts   any     `json:"facts,omitempty"`
}

func (sum *Summary) add(name string, facts any, took time.Duration, err error) {
	sum.Steps = append(sum.Steps, StepSummary{Name: name, OK: err == nil, Seconds: rounded(took), Facts: facts})
}

func (sum *Summary) end(err error, took time.Duration) {
	sum.OK, sum.Seconds = err == nil, rounded(took)
	if err != nil {
		sum.Error = err.Error()
	}
}

// Write writes the summary as JSON.
func (sum *Summary) Write(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(sum)
}

// rounded is a duration in seconds, to the hundredth.
func rounded(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond).Milliseconds()) / 1000
}
