package scene

import "testing"

func TestMismatchSays(t *testing.T) {
	for _, c := range []struct {
		m    Mismatch
		want string
	}{
		{Mismatch{What: "call", Expected: "ok", Got: "503\n", Look: "logs"}, "call: expected ok, got 503; look at: logs"},
		{Mismatch{What: "call", Expected: "ok", Got: " \n"}, "call: expected ok, got nothing"},
	} {
		if got := c.m.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
