package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/standalone"
)

// The bench runs SPIRE with the settings that are shipped.
func TestSettingsOfManifests(t *testing.T) {
	got, err := settingsOfManifests()
	if err != nil {
		t.Fatal(err)
	}
	want := standalone.Object{reloadSetting: "100ms", eventsSetting: true, fullSetting: "1m"}
	if diff := cmp.Diff(want, got.server); diff != "" {
		t.Errorf("of the server (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(standalone.Object{syncSetting: "250ms"}, got.agent); diff != "" {
		t.Errorf("of agents (-want +got):\n%s", diff)
	}
	if got.slowest != 250*time.Millisecond {
		t.Errorf("the longest time between two looks is %s", got.slowest)
	}
}
