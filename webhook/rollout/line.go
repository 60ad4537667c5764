package rollout

import (
	"cmp"
	"container/list"
	"time"

	"github.com/google/btree"
)

// line is where outdated pods wait for their turn, in order of arrival. Mostly a whole namespace or workload has to
// wait, and is passed over without a look at each of its pods: the next pod is found in a time that does not depend on
// how many wait.
type line struct {
	arrivals int
	places   map[Pod]*place
	blocks   map[blockKey]*block
	order    *btree.BTreeG[*block]
	later    *btree.BTreeG[*place] // those that are left alone, the one that is for the shortest time first
}

// place is that of one pod.
type place struct {
	pod      Pod
	workload string // of its namespace; pods of one workload are alike
	restarts bool   // Envoy restarts for it
	again    bool   // it was left alone for a while
	arrival  int
	until    time.Time     // that it is left alone; zero for those in a lane
	at       *list.Element // in its lane; nil for those that are left alone
}

// isEarlier orders those that are left alone.
func (p *place) isEarlier(other *place) bool {
	return cmp.Or(p.until.Compare(other.until), cmp.Compare(p.arrival, other.arrival)) < 0
}

// blockKey is what pods have in common that wait for the same of their namespace.
type blockKey struct {
	namespace       string
	restarts, again bool
}

// block are pods of a namespace, by workload.
type block struct {
	blockKey
	lanes map[string]*lane
	order *btree.BTreeG[*lane]
}

// lane are pods of a workload, in order of arrival.
type lane struct {
	workload string
	places   *list.List
}

func (l *lane) first() int {
	if p, ok := l.places.Front().Value.(*place); ok {
		return p.arrival
	}
	return 0 // cannot be: there is nothing but places
}

func (b *block) first() int {
	l, _ := b.order.Min()
	return l.first()
}

// degree is that of the trees; they are small.
const degree = 8

func newLine() *line {
	return &line{
		places: map[Pod]*place{},
		blocks: map[blockKey]*block{},
		order:  btree.NewG(degree, func(a, b *block) bool { return a.first() < b.first() }),
		later:  btree.NewG(degree, (*place).isEarlier),
	}
}

func (l *line) len() int { return len(l.places) }

// put has a pod wait at the end. One that waits already keeps its place, unless it waits for something else now.
func (l *line) put(pod Pod, workload string, restarts bool) {
	p, waits := l.places[pod]
	switch {
	case !waits:
		p = &place{pod: pod, workload: workload, restarts: restarts}
		l.places[pod] = p
		l.enter(p)
	case p.at == nil:
		p.workload, p.restarts = workload, restarts
	case p.workload != workload || p.restarts != restarts:
		l.leave(p)
		p.workload, p.restarts = workload, restarts
		l.enter(p)
	}
}

// postpone leaves a pod that waits alone until a time; then it waits at the end.
func (l *line) postpone(pod Pod, until time.Time) {
	p, waits := l.places[pod]
	if !waits {
		return
	}
	l.leave(p)
	p.again, p.until = true, until
	l.later.ReplaceOrInsert(p)
}

// wake has those pods wait again that were left alone until now.
func (l *line) wake(now time.Time) {
	for {
		p := l.soonest()
		if p == nil || p.until.After(now) {
			return
		}
		l.leave(p)
		l.enter(p)
	}
}

// soonest is the place of the pod that is left alone for the shortest time; nil if there is none.
func (l *line) soonest() *place {
	p, _ := l.later.Min()
	return p
}

func (l *line) remove(pod Pod) {
	p, waits := l.places[pod]
	if !waits {
		return
	}
	l.leave(p)
	delete(l.places, pod)
}

// enter puts a place at the end.
func (l *line) enter(p *place) {
	l.arrivals++
	p.arrival, p.until = l.arrivals, time.Time{}
	b, lane := l.of(p)
	l.change(b, lane, func() { p.at = lane.places.PushBack(p) })
}

// leave gives a place up, in its lane or among those that are left alone.
func (l *line) leave(p *place) {
	if p.at == nil {
		l.later.Delete(p)
		return
	}
	b, lane := l.of(p)
	l.change(b, lane, func() { lane.places.Remove(p.at) })
	p.at = nil
}

// of finds, or makes, where a place belongs.
func (l *line) of(p *place) (*block, *lane) {
	key := blockKey{p.pod.Namespace, p.restarts, p.again}
	b := l.blocks[key]
	if b == nil {
		order := btree.NewG(degree, func(a, b *lane) bool { return a.first() < b.first() })
		b = &block{blockKey: key, lanes: map[string]*lane{}, order: order}
		l.blocks[key] = b
	}
	in := b.lanes[p.workload]
	if in == nil {
		in = &lane{workload: p.workload, places: list.New()}
		b.lanes[p.workload] = in
	}
	return b, in
}

// change keeps the orders while a lane changes: what is in a tree must not.
func (l *line) change(b *block, in *lane, do func()) {
	if b.order.Len() > 0 {
		l.order.Delete(b)
	}
	if in.places.Len() > 0 {
		b.order.Delete(in)
	}
	do()
	if in.places.Len() > 0 {
		b.order.ReplaceOrInsert(in)
	} else {
		delete(b.lanes, in.workload)
	}
	if b.order.Len() > 0 {
		l.order.ReplaceOrInsert(b)
	} else {
		delete(l.blocks, b.blockKey)
	}
}

// first is the pod that has waited for longest of those that need not wait any longer.
func (l *line) first(inBlock func(blockKey) bool, inLane func(namespace, workload string) bool, itself func(Pod) bool) (first Pod, found bool) {
	earliest := 0
	l.order.Ascend(func(b *block) bool {
		if found && b.first() > earliest {
			return false
		}
		if !inBlock(b.blockKey) {
			return true
		}
		b.order.Ascend(func(in *lane) bool {
			if found && in.first() > earliest {
				return false
			}
			if !inLane(b.namespace, in.workload) {
				return true
			}
			for e := in.places.Front(); e != nil; e = e.Next() {
				if p, ok := e.Value.(*place); ok && itself(p.pod) {
					if !found || p.arrival < earliest {
						first, earliest, found = p.pod, p.arrival, true
					}
					break
				}
			}
			return true
		})
		return true
	})
	return first, found
}

// any says whether a block has pods that wait.
func (l *line) any(which func(blockKey) bool) (found bool) {
	l.order.Ascend(func(b *block) bool {
		found = which(b.blockKey)
		return !found
	})
	return found
}
