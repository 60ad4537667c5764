package api

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

func tellCalls(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The valid client's app calls its own Envoy, in plain HTTP:")
	valid, err := d.scene.Allowed(ctx, Valid)
	d.Show(valid)
	if err != nil {
		return nil, err
	}
	d.Story.Say("The invalid client does exactly the same:")
	refused, err := d.scene.Refused(ctx, Invalid)
	d.Show(refused.Call)
	if err != nil {
		return refused, err
	}
	d.Story.Say("Its app is told that the connection was ended, not why: the why is the server's to know. The API's Envoy writes a " +
		"line for every such call. The newest, laid out:")
	d.refusal(refused.Log, refused.Line)
	d.Story.Checked("%s was refused: its certificate is good, its ID is not on the list (SAN_match)", refused.Line.Peer)
	return refused, nil
}

// refusal shows a line of the API's Envoy.
func (d demo) refusal(c scene.Command, line scene.LogLine) {
	d.Story.Typed(c.String())
	d.Story.Fields(story.Pairs(
		"time", line.Time.Format("15:04:05.000"),
		"event", line.Event,
		"peer", line.Peer,
		"self", line.Self,
		"remote", line.Remote,
		"reason", line.Reason,
	)...)
}
