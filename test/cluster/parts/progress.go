package parts

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// tellEvery is how long a person waits at most for a sign of life.
const tellEvery = 15 * time.Second

// steps numbers the steps of a long job and tells a person about each: when it begins, every interval while it
// lasts, and when it is done.
type steps struct {
	w        io.Writer
	total    int
	interval time.Duration
	n        int
}

func (s *steps) run(what string, do func() error) error {
	s.n++
	head := fmt.Sprintf("[%d/%d] %s", s.n, s.total, what)
	begin := time.Now()
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(s.w, format, args...)
	}
	say("%s …\n", head)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(s.interval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				say("%s … %s so far\n", head, time.Since(begin).Round(time.Second))
			}
		}
	}()
	err := do()
	close(stop)
	<-stopped
	if err != nil {
		say("%s: failed after %s\n", head, time.Since(begin).Round(100*time.Millisecond))
		return fmt.Errorf("%s: %w", what, err)
	}
	say("%s: done in %s\n", head, time.Since(begin).Round(100*time.Millisecond))
	return nil
}
