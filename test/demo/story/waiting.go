package story

import (
	"fmt"
	"io"
	"time"
)

// Patience is how long a person waits at most for a sign of life.
const Patience = 5 * time.Second

// Waiting tells every interval what is waited for and how long so far, until the returned function is called.
func Waiting(w io.Writer, interval time.Duration, what string) (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	begin := time.Now()
	go func() {
		defer close(stopped)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = fmt.Fprintf(w, "    … %s, %s so far\n", what, time.Since(begin).Round(time.Second))
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
