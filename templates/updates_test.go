package templates

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseUpdates(t *testing.T) {
	page := `{"stats":[
		{"name":"listener_manager.lds.update_success","value":3},
		{"name":"listener_manager.lds.update_rejected","value":1},
		{"name":"listener_manager.lds.update_failure","value":2},
		{"name":"listener_manager.lds.update_time","value":1700000000123},
		{"name":"listener_manager.lds.update_attempt","value":6},
		{"name":"cluster_manager.cds.update_time","value":0},
		{"name":"server.live","value":1},
		{"histograms":{}}]}`
	got, err := ParseUpdates([]byte(page))
	want := Updates{
		ListenersFile: {Taken: 3, Refused: 3, Last: time.UnixMilli(1700000000123)},
		ClustersFile:  {},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, page := range []string{"", "<html>", `{"stats":[]}`, `{"stats":[{"name":"server.live","value":1}]}`} {
		if got, err := ParseUpdates([]byte(page)); err == nil {
			t.Errorf("%q: expected an error, got %v", page, got)
		}
	}
}
