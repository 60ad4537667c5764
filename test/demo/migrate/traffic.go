package migrate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

const (
	// lookEvery is the time between two looks for new callers. A caller lives longer.
	lookEvery = time.Second
	// enough calls of each stream, some two seconds, say what a change has done.
	enough = 40
	// enoughLimit is how long they may take.
	enoughLimit = 30 * time.Second
)

// traffic follows the logs of all callers, also of those that end, from start to end.
type traffic struct {
	*tally
	stop context.CancelFunc
	all  sync.WaitGroup
}

// start begins to count.
func (t *traffic) start(ctx context.Context, s stage) {
	ctx, t.stop = context.WithCancel(ctx)
	t.tally = newTally(time.Now())
	t.all.Go(func() {
		followed := map[string]bool{}
		for ctx.Err() == nil {
			var pods corev1.PodList
			if s.K.Get(ctx, &pods, "-n", Namespace, "pods") == nil { // or the next look finds them
				for _, p := range pods.Items {
					for _, stream := range streams() {
						key := p.Name + "/" + stream.container()
						if p.Labels["app"] == stream.caller && !followed[key] {
							followed[key] = true
							t.all.Go(func() { t.follow(ctx, s, p.Name, stream) })
						}
					}
				}
			}
			wait(ctx, lookEvery)
		}
	})
}

// end stops counting.
func (t *traffic) end() {
	t.stop()
	t.all.Wait()
}

// follow counts what a caller logs until its pod is gone. A log that broke off is read again, and what was counted
// already is passed over.
func (t *traffic) follow(ctx context.Context, s stage, pod string, of stream) {
	for counted := 0; ctx.Err() == nil; wait(ctx, lookEvery/2) {
		var stderr bytes.Buffer
		command := s.K.Command(ctx, inShop("logs", "-f", pod, "-c", of.container()).Args...)
		command.Stderr = &stderr
		stdout, err := command.StdoutPipe()
		if err != nil || command.Start() != nil {
			continue
		}
		lines := bufio.NewScanner(stdout)
		for n := 1; lines.Scan(); n++ {
			if n > counted {
				counted = n
				t.add(of, lines.Text())
			}
		}
		_ = command.Wait() // how it ended, stderr says
		if strings.Contains(stderr.String(), "(NotFound)") {
			return
		}
	}
}

// passed waits for enough calls of each stream, and takes what came of all of them since the last time.
func (t *traffic) passed(ctx context.Context) (Calls, error) {
	before := t.snapshot()
	found, err := scene.Poll(ctx, enoughLimit, func() (bool, error) {
		least, _ := t.least(before)
		return least >= enough, nil
	})
	if err == nil && !found {
		least, which := t.least(before)
		err = &scene.Mismatch{
			What: "calls of " + which.String(), Expected: fmt.Sprintf("%d within %s", enough, enoughLimit), Got: fmt.Sprint(least),
			Look: inShop("logs", "deploy/"+which.caller, "-c", which.container()).String(),
		}
	}
	if err != nil {
		return Calls{}, err
	}
	calls, _, err := t.take()
	return calls, err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
