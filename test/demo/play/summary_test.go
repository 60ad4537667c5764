package play

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSummary(t *testing.T) {
	sum := Summary{Demo: "api", Kubeconfig: "/k", Steps: []StepSummary{}}
	sum.add("calls", struct {
		Answer string `json:"answer"`
	}{"<ok>"}, 1234*time.Millisecond, nil)
	err := errors.New("call: expected ok, got 503")
	sum.add("admit", nil, time.Millisecond, err)
	sum.end(err, 2*time.Second)
	var out strings.Builder
	if err := sum.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := `{
  "demo": "api",
  "ok": false,
  "error": "call: expected ok, got 503",
  "kubeconfig": "/k",
  "seconds": 2,
  "clusterSeconds": 0,
  "platformSeconds": 0,
  "steps": [
    {
      "name": "calls",
      "ok": true,
      "seconds": 1.23,
      "facts": {
        "answer": "<ok>"
      }
    },
    {
      "name": "admit",
      "ok": false,
      "seconds": 0
    }
  ]
}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
