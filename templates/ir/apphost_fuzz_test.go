package ir

import "testing"

// What is read as the app's address is in its own pod, and is read again as it is written.
func FuzzParseApp(f *testing.F) {
	for _, s := range []string{"[::1]:8080", "127.0.0.2:1", "podIP:65535", "10.0.0.7:8080", "8080", "[::1%lo]:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := ParseApp(s)
		if err != nil {
			return
		}
		again, samePort, err := ParseApp(host.With(port))
		if err != nil || again != host || samePort != port || port == 0 || !host.valid() {
			t.Errorf("%q became %q, %d, and that %q, %d, %v", s, host, port, again, samePort, err)
		}
	})
}
