package webhook

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Turns bounds how many decisions are made at a time, and is fair between namespaces: who asks for many waits for the
// own ones, and others go in between. Nobody waits for SPIRE in a turn. A nil one bounds nothing.
type Turns struct {
	most         int // at a time
	perNamespace int // of them
	maxWaiting   int // of one namespace

	mu      sync.Mutex
	taken   int
	takenBy map[string]int
	waiting map[string][]*turn
	next    []string // the namespaces that wait, in the order in which they get turns
}

// turn is one that is waited for.
type turn struct{ given chan struct{} }

// Bounds of [NewTurns].
const (
	// maxTurns is how many decisions fit into the memory of a replica on a machine of many cores.
	maxTurns = 9
	// maxWaitingPerNamespace is more than the requests that the API server has in flight for one that is well behaved.
	maxWaitingPerNamespace = 64
)

// NewTurns are as many as there are processors, and one more. A namespace leaves a processor to the others.
func NewTurns() *Turns {
	processors := runtime.GOMAXPROCS(0)
	return newTurns(min(processors+1, maxTurns), min(max(processors-1, 1), maxTurns-1), maxWaitingPerNamespace)
}

func newTurns(most, perNamespace, maxWaiting int) *Turns {
	return &Turns{
		most:         most,
		perNamespace: perNamespace,
		maxWaiting:   maxWaiting,
		takenBy:      map[string]int{},
		waiting:      map[string][]*turn{},
	}
}

// errTooMany says that who asks is to try again later.
var errTooMany = errors.New("try again")

// Take waits for a turn of a namespace, which ends with done. The error is that of ctx, or errTooMany.
func (t *Turns) Take(ctx context.Context, namespace string) (done func(), err error) {
	if t == nil {
		return func() {}, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	done = sync.OnceFunc(func() { t.end(namespace) })
	t.mu.Lock()
	switch {
	case t.taken < t.most && t.takenBy[namespace] < t.perNamespace && len(t.waiting[namespace]) == 0:
		t.give(namespace)
		t.mu.Unlock()
		return done, nil
	case len(t.waiting[namespace]) >= t.maxWaiting:
		t.mu.Unlock()
		return nil, fmt.Errorf("%d requests of namespace %s are waiting already: %w", t.maxWaiting, namespace, errTooMany)
	}
	mine := &turn{given: make(chan struct{})}
	if len(t.waiting[namespace]) == 0 {
		t.next = append(t.next, namespace)
	}
	t.waiting[namespace] = append(t.waiting[namespace], mine)
	t.mu.Unlock()
	select {
	case <-mine.given:
		return done, nil
	case <-ctx.Done():
	}
	if t.leave(namespace, mine) {
		return nil, ctx.Err()
	}
	done() // it was given in the same moment
	return nil, ctx.Err()
}

func (t *Turns) give(namespace string) {
	t.taken++
	t.takenBy[namespace]++
}

func (t *Turns) end(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	if t.takenBy[namespace]--; t.takenBy[namespace] == 0 {
		delete(t.takenBy, namespace)
	}
	t.pass()
}

// pass gives free turns to those who wait, one namespace after the other.
func (t *Turns) pass() {
	for i := 0; t.taken < t.most && i < len(t.next); {
		namespace := t.next[i]
		if t.takenBy[namespace] >= t.perNamespace {
			i++
			continue
		}
		first := t.waiting[namespace][0]
		t.next = slices.Delete(t.next, i, i+1)
		if t.waiting[namespace] = t.waiting[namespace][1:]; len(t.waiting[namespace]) > 0 {
			t.next = append(t.next, namespace)
		} else {
			delete(t.waiting, namespace)
		}
		t.give(namespace)
		close(first.given)
	}
}

// leave is false if the turn was given.
func (t *Turns) leave(namespace string, mine *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[namespace], mine)
	if i < 0 {
		return false
	}
	if t.waiting[namespace] = slices.Delete(t.waiting[namespace], i, i+1); len(t.waiting[namespace]) == 0 {
		delete(t.waiting, namespace)
		t.next = slices.DeleteFunc(t.next, func(name string) bool { return name == namespace })
	}
	return true
}
