package intent

import "testing"

func TestRequestTarget(t *testing.T) {
	// What the kubelet asks for, by net/url as the kubelet uses it.
	tests := map[string]string{
		"":                             "/",
		"health":                       "/health",
		"/healthz?full=1&x=%20y#there": "/healthz?full=1&x=%20y",
		"/a b?c d":                     "/a%20b?c%20d",
		"/a%2Fb":                       "/a%2Fb",
		"//host/x":                     "/x",
		"/%zz":                         "/%25zz",
		"/ü":                           "/%C3%BC",
		"mailto:x":                     "/mailto:x",
	}
	for path, want := range tests {
		if got := requestTarget(path); got != want {
			t.Errorf("%q: expected %q, got %q", path, want, got)
		}
	}
}
