package workloads

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

func tellManifests(_ context.Context, d demo) (any, error) {
	paths := []string{Workloads + "/" + SPIFFEClient + ".yaml", Workloads + "/" + HTTPSServer + ".yaml", Workloads + "/" + HTTPSClient + ".yaml"}
	lines, err := d.scene.lines(append(paths, Workloads+"/namespace.yaml")...)
	if err != nil {
		return nil, err
	}
	namespace, err := d.Scene.Read(Workloads + "/namespace.yaml")
	if err != nil {
		return nil, err
	}
	d.Story.Say("Three programs that use a SPIFFE library. They want no Envoy, but the SPIRE agent. Their Deployments say nothing of that, their " +
		"namespace does:")
	d.Story.Came(namespace)
	d.Story.Say("So every container gets the socket of the Workload API, its name in SPIFFE_ENDPOINT_SOCKET, and a registration entry of its "+
		"own, after namespace and service account: %s, and so on. No claim and no entry is written by anybody.", ID(SPIFFEClient))
	return struct {
		Lines map[string]int `json:"lines"`
	}{lines}, nil
}

func tellFetch(ctx context.Context, d demo) (any, error) {
	done := d.Waiting("waiting for the first SVID")
	f, err := d.scene.Fetch(ctx)
	done()
	if err != nil {
		return f, err
	}
	d.Show(f.Applied)
	d.Story.Checked("first SVID %.1f s after apply", f.Seconds)
	d.Story.Say("spiffe-client asks the agent who it is. The last certificate is the trust domain's own:")
	d.Show(f.SummaryRan)
	d.Story.Checked("%s, of trust domain %s", f.Summary.ID, f.Summary.TrustDomain)
	d.Story.Say("The same as files, for programs that want those (--dump prints a part of it):")
	d.Show(f.FilesRan)
	d.Story.Say("And a JWT-SVID for one audience; without --dump it prints the token:")
	d.Show(f.TokenRan)
	d.Story.Checked("a token of %s for %s, until %s", f.Token.Subject, Audience, time.Unix(f.Token.Expires, 0).Format(time.TimeOnly))
	return f, nil
}

func tellCall(ctx context.Context, d demo) (any, error) {
	d.Story.Say("https-server lets %s alone in, by its certificate, and wants its JWT-SVID for %q as well. https-client wants nobody but "+
		"https-server at the other end, and gets a JWT-SVID of it back, for itself:", ID(HTTPSClient), Audience)
	done := d.Waiting("waiting for the server's SVID")
	c, err := d.scene.Call(ctx)
	done()
	d.Show(c.Call)
	if err != nil {
		return c, err
	}
	d.Story.Say("The server's log of it, laid out:")
	d.event(c.Log, c.Line)
	d.Story.Checked("both certificates and both JWT-SVIDs verified, with bundles that the agent keeps fresh")
	return c, nil
}

func tellRefusals(ctx context.Context, d demo) (any, error) {
	refusals, err := d.scene.Refusals(ctx)
	for _, r := range refusals {
		d.Story.Say("Refused: %s.", r.Who)
		d.Show(r.Call)
		if r.Line.Message != "" {
			d.Story.Say("The server's log:")
			d.event(r.Log, r.Line)
		}
	}
	if err != nil {
		return refusals, err
	}
	d.Story.Checked("each was refused for the reason told, and both sides say it")
	d.Story.Say("Everything keeps running. To remove the demo, SPIRE and the injector:")
	d.Story.Typed("make demo-workloads-down")
	return refusals, nil
}

// event shows a line of the server.
func (d demo) event(c scene.Command, e Event) {
	d.Story.Typed(c.String())
	d.Story.Fields(story.Known("time", e.Time.Format("15:04:05.000"), "msg", e.Message, "peer", e.Peer, "jwt", e.JWT, "reason", e.Reason)...)
}

// lines counts the lines of files.
func (s stage) lines(paths ...string) (map[string]int, error) {
	counts := map[string]int{}
	for _, path := range paths {
		text, err := s.Read(path)
		if err != nil {
			return nil, err
		}
		counts[path] = scene.Lines(text)
	}
	return counts, nil
}
