package registrar

import (
	"cmp"
	"time"

	"github.com/google/btree"
)

// deadlines are times by entry ID. The first of them is found without looking at the others.
type deadlines struct {
	at    map[string]time.Time
	order *btree.BTreeG[deadline]
}

type deadline struct {
	id string
	at time.Time
}

func (d deadline) isBefore(other deadline) bool {
	return cmp.Or(d.at.Compare(other.at), cmp.Compare(d.id, other.id)) < 0
}

func newDeadlines() deadlines {
	const degree = 8
	return deadlines{at: map[string]time.Time{}, order: btree.NewG(degree, deadline.isBefore)}
}

func (d *deadlines) set(id string, at time.Time) {
	d.remove(id)
	d.at[id] = at
	d.order.ReplaceOrInsert(deadline{id, at})
}

func (d *deadlines) remove(id string) {
	if at, is := d.at[id]; is {
		delete(d.at, id)
		d.order.Delete(deadline{id, at})
	}
}

func (d *deadlines) has(id string) bool {
	_, is := d.at[id]
	return is
}

// first is the earliest; zero if there is none.
func (d *deadlines) first() time.Time {
	first, _ := d.order.Min()
	return first.at
}
