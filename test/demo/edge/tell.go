package edge

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

func tellManifests(_ context.Context, d demo) (any, error) {
	found, err := d.Scene.Manifests(manifests()...)
	if err != nil {
		return nil, err
	}
	d.Story.Say("An app, and an Envoy of its own in front of it for callers from outside. The label spire-discover names them; the "+
		"platform file of this trust domain, %s, makes an identity of it: templates: [\"/{label:spire-discover}\"].", trustDomain)
	d.ShowManifests(found)
	d.Story.Say("Both listen on port %s: the edge in plain HTTP, for everybody; the app's sidecar in mutual TLS, for %s alone. The app itself "+
		"listens on 127.0.0.1:8080.", Port, ID(Edge))
	return struct {
		Manifests any `json:"manifests"`
	}{found}, nil
}

func tellHello(ctx context.Context, d demo) (any, error) {
	done := d.Waiting("waiting for the first answer")
	h, err := d.scene.Hello(ctx)
	done()
	if err != nil {
		return h, err
	}
	d.Show(h.Applied)
	d.Story.Checked("first answer %.1f s after apply", h.Seconds)
	d.Show(h.Pods)
	d.Story.Say("A pod without an identity calls the edge, which carries the call to the app:")
	d.Show(h.Call)
	d.Story.Checked("%s, version %s, answered by %s", h.Greeting.Message, h.Greeting.Version, h.Greeting.Hostname)
	d.Story.Say("From outside the cluster it is the same:")
	d.Story.Typed(ForwardCommand().String()+" &", "curl -s http://127.0.0.1:"+Port+"/", "kill %1")
	d.Story.Checked("answered by %s", h.Forwarded.Hostname)
	d.Story.Say("The app's Envoy knows who brought it. The newest line of its log, laid out:")
	d.line(h.Log, h.Line)
	return h, nil
}

func tellAround(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The visitor tries the app's pod itself, and is told why not; the app's Envoy says so, too:")
	attempts, err := d.scene.Around(ctx)
	for _, a := range attempts {
		d.Show(a.Call)
		if a.Line.Event != "" {
			d.line(a.Log, a.Line)
		}
		if err == nil {
			d.Story.Checked("refused %s", a.How)
		}
	}
	return attempts, err
}

func tellLabel(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Whoever may create pods in a namespace can write any label. The platform file says which names this namespace may take: " +
		"/edge-proxy and /helloworld. Somebody tries another:")
	c, err := d.scene.Claim(ctx)
	d.Show(c.Run)
	if err == nil {
		d.Story.Checked("no pod, no registration entry")
	}
	return c, err
}

func tellProxies(ctx context.Context, d demo) (any, error) {
	d.Story.Say("Envoy's administration interface is on the pod's loopback address, for reading only:")
	proxies, err := d.scene.Proxies(ctx)
	for _, p := range proxies {
		d.Story.Typed(scene.AdminCommand(Namespace, "deploy/"+p.Workload).String()+" &", "curl -s http://127.0.0.1:15000/certs",
			"curl -s http://127.0.0.1:15000/config_dump", "curl -s http://127.0.0.1:15000/stats", "kill %1")
		if err == nil {
			d.Story.Checked("/certs of %s shows %s, until %s", p.Workload, p.Certificate.ID, p.Certificate.Expires.Local().Format(time.TimeOnly))
			d.Story.Checked("/config_dump shows that its peer has to be %s", p.Accepts)
			d.Story.Checked("/stats counts its handshakes: %d", p.Handshakes)
		}
	}
	if err == nil {
		d.Story.Say("Everything keeps running. To remove the demo, SPIRE and the injector:")
		d.Story.Typed("make demo-edge-down")
	}
	return proxies, err
}

// line shows a line of the app's Envoy.
func (d demo) line(c scene.Command, line scene.LogLine) {
	d.Story.Typed(c.String())
	d.Story.Fields(story.Known("time", line.Time.Format("15:04:05.000"), "event", line.Event, "peer", line.Peer, "self", line.Self, "reason", line.Reason)...)
}
