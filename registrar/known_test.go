package registrar

import (
	"strconv"
	"testing"
	"time"
)

func TestKnownForgets(t *testing.T) {
	now := time.Unix(0, 0)
	k := newKnown[string, Entry](30*time.Second, 100, func() time.Time { return now })
	k.put("a", Entry{ID: "a"})
	now = now.Add(30*time.Second - 1)
	k.put("b", Entry{ID: "b"})
	if e, ok := k.get("a"); !ok || e.ID != "a" {
		t.Errorf("get(a) = %v, %v just before the window ends, want the entry", e.ID, ok)
	}
	now = now.Add(1)
	if _, ok := k.get("a"); ok {
		t.Error("a is remembered beyond the window")
	}
	k.put("c", Entry{ID: "c"}) // begins a generation
	if _, ok := k.get("b"); !ok {
		t.Error("b is forgotten within the window")
	}
}

func TestKnownIsBounded(t *testing.T) {
	k := newKnown[string, Entry](time.Hour, 100, time.Now)
	for i := range 10_000 {
		k.put(strconv.Itoa(i), Entry{})
	}
	if got := len(k.young) + len(k.old); got > 200 {
		t.Errorf("%d entries remembered, want 200 at most", got)
	}
	if _, ok := k.get("9999"); !ok {
		t.Error("the last entry is forgotten")
	}
}
