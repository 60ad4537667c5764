package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// search is a line in which every pod is looked at.
type search struct{ waiting, alone []place }

func (s *search) put(pod Pod, workload string, restarts bool) {
	is := func(p place) bool { return p.pod == pod }
	if i := slices.IndexFunc(s.alone, is); i >= 0 {
		s.alone[i].workload, s.alone[i].restarts = workload, restarts
		return
	}
	p := place{pod: pod, workload: workload, restarts: restarts}
	if i := slices.IndexFunc(s.waiting, is); i >= 0 {
		p.again = s.waiting[i].again
		if s.waiting[i] == p {
			return
		}
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.waiting = append(s.waiting, p)
}

func (s *search) remove(pod Pod) (was place, waited bool) {
	for _, of := range []*[]place{&s.waiting, &s.alone} {
		if i := slices.IndexFunc(*of, func(p place) bool { return p.pod == pod }); i >= 0 {
			was, waited = (*of)[i], true
			*of = slices.Delete(*of, i, i+1)
		}
	}
	return was, waited
}

func (s *search) postpone(pod Pod, until time.Time) {
	if p, waited := s.remove(pod); waited {
		p.again, p.until = true, until
		s.alone = append(s.alone, p)
	}
}

func (s *search) wake(now time.Time) {
	slices.SortStableFunc(s.alone, func(a, b place) int { return a.until.Compare(b.until) })
	for len(s.alone) > 0 && !s.alone[0].until.After(now) {
		p := s.alone[0]
		p.until = time.Time{}
		s.waiting, s.alone = append(s.waiting, p), s.alone[1:]
	}
}

func (s *search) first(inBlock func(blockKey) bool, inLane func(namespace, workload string) bool, itself func(Pod) bool) (Pod, bool) {
	for _, p := range s.waiting {
		if inBlock(blockKey{p.pod.Namespace, p.restarts, p.again}) && inLane(p.pod.Namespace, p.workload) && itself(p.pod) {
			return p.pod, true
		}
	}
	return Pod{}, false
}

// A line finds whom a look at every pod would find, whoever has to wait.
func TestLineFindsWhoIsFirst(t *testing.T) {
	t.Parallel()
	const pods, namespaces, workloads = 40, 4, 3
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		line, want, now := newLine(), &search{}, start
		some := func() Pod {
			i := random.IntN(pods)
			return Pod{NamespacedName: types.NamespacedName{Namespace: fmt.Sprint(i % namespaces), Name: fmt.Sprint(i)}}
		}
		for range 500 {
			switch random.IntN(5) {
			case 0, 1:
				pod, workload, restarts := some(), fmt.Sprint(random.IntN(workloads)), random.IntN(4) == 0
				line.put(pod, workload, restarts)
				want.put(pod, workload, restarts)
			case 2:
				pod := some()
				line.remove(pod)
				want.remove(pod)
			case 3: // no two at one time, so that their order is known
				pod, until := some(), now.Add(time.Duration(random.Int64N(int64(time.Minute))))
				line.postpone(pod, until)
				want.postpone(pod, until)
			case 4:
				now = now.Add(time.Duration(random.Int64N(int64(20 * time.Second))))
				line.wake(now)
				want.wake(now)
			}
			blocked, lane, itself := random.IntN(2*namespaces), random.IntN(2*workloads), some()
			inBlock := func(b blockKey) bool { return b.namespace != fmt.Sprint(blocked) && (blocked%2 == 0 || !b.restarts) }
			inLane := func(_, workload string) bool { return workload != fmt.Sprint(lane) }
			isAnother := func(pod Pod) bool { return pod != itself }
			got, ok := line.first(inBlock, inLane, isAnother)
			pod, is := want.first(inBlock, inLane, isAnother)
			if got != pod || ok != is || line.len() != len(want.waiting)+len(want.alone) {
				t.Fatalf("seed %d: got %v, %t of %d pods; want %v, %t of %d", seed, got, ok, line.len(),
					pod, is, len(want.waiting)+len(want.alone))
			}
			if soonest := line.soonest(); (soonest == nil) != (len(want.alone) == 0) {
				t.Fatalf("seed %d: got %v left alone, want %v", seed, soonest, want.alone)
			}
		}
	}
}
