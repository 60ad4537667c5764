package registrar

import (
	"testing"
	"time"
)

func TestFirstOfDeadlines(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	d := newDeadlines()
	want := func(when string, first time.Time) {
		t.Helper()
		if got := d.first(); !got.Equal(first) {
			t.Errorf("%s: got %s, want %s", when, got, first)
		}
	}
	want("of none", time.Time{})
	d.set("a", at(30))
	d.set("b", at(10))
	d.set("c", at(20))
	want("of three", at(10))
	d.remove("b")
	want("without the first", at(20))
	d.set("c", at(40))
	want("when that one is later", at(30))
	d.set("c", at(5))
	want("when it is earlier", at(5))
	d.remove("c")
	d.set("b", at(10))
	want("when one that was removed is back", at(10))
	d.remove("a")
	d.remove("b")
	want("when all are removed", time.Time{})
	if d.has("a") || d.order.Len() > 0 {
		t.Error("what was removed is still there")
	}
}
