package main

import (
	"runtime/debug"
	"testing"
)

func TestTextOfABuild(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		build build
		want  string
	}{
		"released": {build{Version: "v1.2.3", Commit: "abc", Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector v1.2.3\ncommit   abc\ngo       go1.26.8\nplatform linux/arm64\n"},
		"of changed sources": {
			build{Version: "v1.2.3", Commit: "abc", Modified: true, Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector v1.2.3\ncommit   abc, with changes\ngo       go1.26.8\nplatform linux/arm64\n",
		},
		"without history": {build{Version: "dev", Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector dev\ngo       go1.26.8\nplatform linux/arm64\n"},
	}
	for name, test := range tests {
		if got := test.build.text(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestBuildOfASource(t *testing.T) {
	t.Parallel()
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	for modified, want := range map[string]bool{"true": true, "false": false} {
		got := build{
			Version: "v1",
		}.of([]debug.BuildSetting{revision, {Key: "vcs.modified", Value: modified}, {Key: "-trimpath", Value: "true"}})
		if got != (build{Version: "v1", Commit: "abc", Modified: want}) {
			t.Errorf("modified %s: got %+v", modified, got)
		}
	}
}
