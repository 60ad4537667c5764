package images

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPathsInImage(t *testing.T) {
	got := inImage("/cache/tree", []Entry{
		{Path: "/cache/tree/usr/lib/libpq.so.5", Source: "/cache/tree/usr/lib/libpq.so.5"},
		{Path: "/lib/libc.so.6", Source: "/lib/libc.so.6"},
		{Path: "/usr/lib/libpq.so.5", Source: "/usr/lib/libpq.so.5"},
		{Path: "/lib/libc.so.6", Source: "/lib/libc.so.6"},
	})
	want := []Entry{
		{Path: "/usr/lib/libpq.so.5", Source: "/cache/tree/usr/lib/libpq.so.5"},
		{Path: "/lib/libc.so.6", Source: "/lib/libc.so.6"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
