package main

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func tellFurther(ctx context.Context, d demo) (any, error) {
	d.story.Say("Envoy shows its certificates and its configuration on the pod's loopback address:")
	certificate, err := d.scene.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	d.story.Typed(scene.AdminCommand().String()+" &",
		"curl -s http://127.0.0.1:15000/certs",
		"curl -s http://127.0.0.1:15000/config_dump",
		"kill %1")
	d.story.Checked("/certs shows %s, from %s to %s", certificate.ID,
		certificate.From.Local().Format(time.TimeOnly), certificate.Expires.Local().Format(time.TimeOnly))
	d.story.Say("(SPIRE dates a certificate 10 s back. Envoy gets the next one when half of its life is over.)")
	d.story.Say("What the clients' apps and the API's Envoy see, and what SPIRE has registered:")
	d.story.Typed(scene.FollowCommand(scene.Valid).String(), scene.FollowCommand(scene.Invalid).String(),
		scene.EnvoyLogCommand("-f").String(), scene.EntriesCommand().String())
	d.story.Say("Everything keeps running. To remove the demo, SPIRE and the injector, and then the cluster, if it is one of ours:")
	d.story.Typed("make demo-down", "make cluster-down")
	return certificate, nil
}
