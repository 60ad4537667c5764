package registrar

import (
	"strconv"
	"testing"
	"time"
)

func TestTTLCacheExpires(t *testing.T) {
	now := time.Unix(0, 0)
	c := newTTLCache[string, Entry](30*time.Second, 100, func() time.Time { return now })
	c.put("a", Entry{ID: "a"})
	now = now.Add(30 * time.Second)
	c.put("b", Entry{ID: "b"})
	if e, ok := c.get("a"); !ok || e.ID != "a" {
		t.Errorf("get(a) = %v, %v before its TTL ends, want the entry", e.ID, ok)
	}
	now = now.Add(1)
	if _, ok := c.get("a"); ok {
		t.Error("a is there beyond its TTL")
	}
	if e, ok := c.get("b"); !ok || e.ID != "b" {
		t.Errorf("get(b) = %v, %v within its TTL, want the entry", e.ID, ok)
	}
}

func TestTTLCacheIsBounded(t *testing.T) {
	c := newTTLCache[string, Entry](time.Hour, 100, time.Now)
	for i := range 1000 {
		c.put(strconv.Itoa(i), Entry{ID: strconv.Itoa(i)})
	}
	there := 0
	for i := range 1000 {
		if _, ok := c.get(strconv.Itoa(i)); ok {
			there++
		}
	}
	if there != 100 {
		t.Errorf("%d entries are cached, want 100", there)
	}
	if e, ok := c.get("999"); !ok || e.ID != "999" {
		t.Error("the last entry is gone")
	}
}
