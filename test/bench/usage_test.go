package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// processMetrics are of the two kinds that count, and of those that do not.
const processMetrics = `# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 3.1457280e+07
# TYPE spire_injector_spire_requests_total counter
spire_injector_spire_requests_total{method="BatchCreateEntry",code="OK"} 3
spire_injector_spire_requests_total{method="GetEntry",code="NotFound"} 4
# TYPE spire_server_rpc_entry_v1_entry_batch_create_entry counter
spire_server_rpc_entry_v1_entry_batch_create_entry{host="a",status="OK"} 20
spire_server_rpc_entry_v1_entry_batch_create_entry{host="a",status="Unavailable"} 1
# TYPE spire_server_rpc_entry_v1_entry_batch_create_entry_elapsed_time summary
spire_server_rpc_entry_v1_entry_batch_create_entry_elapsed_time{host="a",status="OK",quantile="0.5"} NaN
spire_server_rpc_entry_v1_entry_batch_create_entry_elapsed_time_sum{host="a",status="OK"} 200
spire_server_rpc_entry_v1_entry_batch_create_entry_elapsed_time_count{host="a",status="OK"} 20
# TYPE spire_server_rpc_entry_v1_entry_list_entries counter
spire_server_rpc_entry_v1_entry_list_entries{host="a",status="OK"} 5
# TYPE spire_server_rpc_entry_v1_entry_count_entries counter
spire_server_rpc_entry_v1_entry_count_entries{host="a",status="OK"} 70
# TYPE spire_server_rpc_entry_v1_entry_sync_authorized_entries counter
spire_server_rpc_entry_v1_entry_sync_authorized_entries{host="a",status="OK"} 80
# TYPE spire_server_rpc_svid_v1_svid_batch_new_x509_svid counter
spire_server_rpc_svid_v1_svid_batch_new_x509_svid{host="a",status="OK"} 90
# TYPE spire_server_rpc_trustdomain_v1_trust_domain_list_federation_relationships counter
spire_server_rpc_trustdomain_v1_trust_domain_list_federation_relationships{host="a",status="OK"} 2
`

func someSums(t *testing.T) sums {
	t.Helper()
	s, err := parseSums([]byte(processMetrics))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReplicasAddUp(t *testing.T) {
	s := someSums(t)
	want := process{cpu: 3 * time.Second, memory: 60 << 20}
	if got := processOf([]sums{s, s}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := parseSums([]byte("no metrics")); err == nil {
		t.Error("text that is no metrics: expected an error")
	}
}

// The calls of agents and of the bench itself are nobody's cost of registering.
func TestCallsOfRegistrantsAlone(t *testing.T) {
	const prefix = "entry_v1_entry_"
	want := calls{prefix + "batch_create_entry": 21, prefix + "list_entries": 5, "trustdomain_v1_trust_domain_list_federation_relationships": 2}
	got := callsOf([]sums{someSums(t)})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	earlier := calls{prefix + "batch_create_entry": 1, prefix + "list_entries": 5}
	since := got.since(earlier)
	if diff := cmp.Diff(calls{prefix + "batch_create_entry": 20, "trustdomain_v1_trust_domain_list_federation_relationships": 2}, since); diff != "" {
		t.Errorf("calls since (-want +got):\n%s", diff)
	}
	if since.total() != 22 {
		t.Errorf("got %d calls, want 22", since.total())
	}
}

// That there is no count is something else than a count of none.
func TestOwnCalls(t *testing.T) {
	one, two, none := []sums{someSums(t)}, []sums{someSums(t), someSums(t)}, []sums{{"process_cpu_seconds_total": 1}}
	for name, tt := range map[string]struct {
		before, after []sums
		want          *int
	}{
		"more":        {one, two, new(7)},
		"the same":    {one, one, new(0)},
		"the first":   {none, one, new(7)},
		"not counted": {none, none, nil},
	} {
		if diff := cmp.Diff(tt.want, difference(ownCallsOf(tt.before), ownCallsOf(tt.after))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
