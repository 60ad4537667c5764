package frontproxy

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// line is one that the backend's Envoy writes for a request.
type line struct {
	Event  string `json:"event"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Peer   string `json:"peer"`   // who called: the proxy
	Client string `json:"client"` // on whose behalf
}

// backendLine waits for what the backend's Envoy says of a request of this path, status and client.
func (s stage) backendLine(ctx context.Context, path string, status int, client string) (line, error) {
	want := line{Event: scene.EventRequest, Path: path, Status: status, Peer: ProxyID, Client: client}
	found, err := scene.Poll(ctx, scene.LogLimit, func() (bool, error) {
		r, err := s.Run(ctx, envoyLog(Backend))
		for text := range strings.Lines(r.Stdout) {
			var got line
			if json.Unmarshal([]byte(text), &got) == nil && got == want {
				return true, err
			}
		}
		return false, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: envoyLog(Backend).String(), Expected: "a line on " + path + " of " + client, Look: envoyLog(Backend).String()}
	}
	return want, err
}
