package scene

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// notAllowed is in the reason of a handshake whose caller has a good certificate, but an ID that is not on the list.
const notAllowed = "verify_cert_failed:_SAN_match"

const (
	// logLimit is how long a line may take from Envoy to kubectl logs.
	logLimit = 10 * time.Second
	// clockSkew is how far the clock of the pod's node may be from ours.
	clockSkew = 2 * time.Second
)

// refusal finds the last line of the API's Envoy on a refused call of peer between two points in time.
func (s Scene) refusal(ctx context.Context, peer string, from, to time.Time) (Command, LogLine, error) {
	c := refusedLinesCommand(peer)
	var lines []LogLine
	found, err := poll(ctx, logLimit, func() (bool, error) {
		r, err := s.run(ctx, c)
		lines = linesOf(r.Stdout, eventRefused, peer, from.Add(-clockSkew), to.Add(clockSkew))
		return len(lines) > 0, err
	})
	switch {
	case err != nil:
		return c, LogLine{}, err
	case !found:
		return c, LogLine{}, &Mismatch{
			What:     "log of the API's Envoy",
			Expected: fmt.Sprintf("a line %q on %s from %s to %s", eventRefused, peer, from.Format(time.TimeOnly), to.Format(time.TimeOnly)),
			Look:     EnvoyLogCommand().String(),
		}
	}
	line := lines[len(lines)-1]
	if !strings.Contains(line.Reason, notAllowed) {
		err = &Mismatch{What: "reason of the refused handshake", Expected: "one with " + notAllowed, Got: line.Reason, Look: c.String()}
	}
	return c, line, err
}
