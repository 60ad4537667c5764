package api

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func tellFurther(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Envoy shows its certificates and its configuration on the pod's loopback address:")
	certificate, err := d.scene.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	d.Story.Typed(AdminCommand().String()+" &",
		"curl -s http://127.0.0.1:15000/certs",
		"curl -s http://127.0.0.1:15000/config_dump",
		"kill %1")
	d.Story.Checked("/certs shows %s, from %s to %s", certificate.ID,
		certificate.From.Local().Format(time.TimeOnly), certificate.Expires.Local().Format(time.TimeOnly))
	d.Story.Say("(SPIRE dates a certificate 10 s back. Envoy gets the next one when half of its life is over.)")
	d.Story.Say("What the clients' apps and the API's Envoy see, and what SPIRE has registered:")
	d.Story.Typed(FollowCommand(Valid).String(), FollowCommand(Invalid).String(),
		envoyLog("-f").String(), scene.EntriesCommand().String())
	d.Story.Say("Everything keeps running. To remove the demo, SPIRE and the injector, and then the cluster, if it is one of ours:")
	d.Story.Typed("make demo-down", "make cluster-down")
	return certificate, nil
}
