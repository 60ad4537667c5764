package main

import "testing"

func TestTextOfABuild(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		build build
		want  string
	}{
		"released": {build{Version: "v1.2.3", Commit: "abc", Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector v1.2.3\ncommit   abc\ngo       go1.26.8\nplatform linux/arm64\n"},
		"of changed sources": {build{Version: "v1.2.3", Commit: "abc", Modified: true, Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector v1.2.3\ncommit   abc, with changes\ngo       go1.26.8\nplatform linux/arm64\n"},
		"without history": {build{Version: "dev", Go: "go1.26.8", Platform: "linux/arm64"},
			"spire-injector dev\ngo       go1.26.8\nplatform linux/arm64\n"},
	}
	for name, test := range tests {
		if got := test.build.text(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
