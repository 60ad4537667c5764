package registrar

import (
	"container/heap"
	"time"
)

// deadlines are times by entry ID. The first of them is found without looking at the others.
type deadlines struct {
	at map[string]time.Time
	// order has each of them, and some that were changed or removed since: those go when they are the first.
	order deadlineHeap
}

func newDeadlines() deadlines { return deadlines{at: map[string]time.Time{}} }

func (d *deadlines) set(id string, at time.Time) {
	if known, is := d.at[id]; is && known.Equal(at) {
		return
	}
	d.at[id] = at
	heap.Push(&d.order, deadline{id, at})
}

func (d *deadlines) remove(id string) { delete(d.at, id) }

func (d *deadlines) has(id string) bool {
	_, is := d.at[id]
	return is
}

// first is the earliest; zero if there is none.
func (d *deadlines) first() time.Time {
	for len(d.order) > 0 {
		if at, is := d.at[d.order[0].id]; is && at.Equal(d.order[0].at) {
			return at
		}
		heap.Pop(&d.order)
	}
	return time.Time{}
}

type deadline struct {
	id string
	at time.Time
}

// deadlineHeap implements [heap.Interface]; the earliest is the first.
type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *deadlineHeap) Push(x any) {
	if d, ok := x.(deadline); ok {
		*h = append(*h, d)
	}
}

// Pop implements [heap.Interface].
func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = deadline{}
	*h = (*h)[:last]
	return d
}
