package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseConfigDump(t *testing.T) {
	const dump = `{"configs": [
  {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {}}, "last_updated": "2026-01-02T03:04:05.100Z"},
  {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [{"last_updated": "2026-01-02T03:04:09Z"}]},
  {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump", "dynamic_active_secrets": [
    {"name": "spiffe://example.org/api", "last_updated": "2026-01-02T03:04:06.200Z"},
    {"name": "ALL", "last_updated": "2026-01-02T03:04:06.300Z"}],
   "dynamic_warming_secrets": [{"name": "later", "last_updated": "2026-01-02T03:04:08Z"}]}]}`
	got, err := parseConfigDump([]byte(dump))
	if err != nil {
		t.Fatal(err)
	}
	at := func(second, ms int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, ms*1e6, time.UTC) }
	if want := (envoyTimes{bootstrap: at(5, 100), secrets: at(6, 300)}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err = parseConfigDump([]byte(`{"configs": []}`))
	if err == nil || !strings.Contains(err.Error(), "expected the times of the bootstrap and of the secrets") {
		t.Errorf("without either: got error %v", err)
	}
}

func TestForwardingLine(t *testing.T) {
	match := forwarding.FindStringSubmatch("Forwarding from 127.0.0.1:40123 -> 15000\n")
	if match == nil || match[1] != "127.0.0.1:40123" {
		t.Errorf("got %q", match)
	}
}
