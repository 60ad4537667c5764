package scene

import (
	"context"
	"strings"
	"time"
)

// Identified tries a call whose answer is what the called app was told, until there is one, and wants both IDs in it as
// the server's Envoy writes them: the server, and who called.
func (s Scene) Identified(ctx context.Context, c Command, server, caller string, limit time.Duration) (Ran, error) {
	var r Ran
	answered, err := Poll(ctx, limit, func() (bool, error) {
		var err error
		r, err = s.Try(ctx, c)
		return !r.Failed, err
	})
	by, uri := "By="+server+";", "URI="+caller
	if err == nil && (!answered || !strings.Contains(r.Stdout, by) || !strings.Contains(r.Stdout, uri)) {
		err = &Mismatch{What: c.String(), Expected: by + "… and " + uri, Got: r.Output()}
	}
	return r, err
}
