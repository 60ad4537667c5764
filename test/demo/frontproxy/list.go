package frontproxy

import (
	"context"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// listLimit is how long a changed list may take to be in force.
const listLimit = 30 * time.Second

// listCommand changes which clients the running backend serves.
func listCommand(clients string) scene.Command {
	return scene.In(Backend, "annotate", "pod", "-l", "app="+Backend, "--overwrite", fmt.Sprintf(
		"spiffe.io/inbound=- {listen: 8443, app: 8080, peers: [/ns/proxy/sa/default], forwardedClients: [%s]}", clients))
}

// List is a change of the list, and what the client got then.
type List struct {
	// Seconds from the start of the change to the first answer of the other kind.
	Seconds float64 `json:"secondsToChange"`
	Answer  Answer  `json:"answer"`
}

// list changes the backend's list and asks until the status is the wanted one.
func (s stage) list(ctx context.Context, clients string, status int) (scene.Ran, List, error) {
	r, err := s.Run(ctx, listCommand(clients))
	var l List
	if err != nil {
		return r, l, err
	}
	found, err := scene.Poll(ctx, listLimit, func() (bool, error) {
		var err error
		l.Answer, err = s.get(ctx, client{folder: s.folder()}, Proxy, "/echo/list")
		return l.Answer.Status == status, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "GET at the proxy", Expected: fmt.Sprint(status), Got: fmt.Sprint(l.Answer.Status), Look: r.Command.String()}
	}
	l.Seconds = r.Until(l.Answer.End)
	return r, l, err
}

func tellList(ctx context.Context, d demo) (any, error) {
	facts := struct {
		Removed List `json:"removed"`
		Back    List `json:"back"`
		Line    line `json:"backendLog"`
	}{}
	before, err := d.Scene.Pod(ctx, Backend, "app="+Backend)
	if err != nil {
		return facts, err
	}
	d.Story.Say("The backend takes the generator off its list, on the running pod. To the proxy its certificate is as good as ever.")
	r, removed, err := d.scene.list(ctx, "/outside/*", 403)
	facts.Removed = removed
	d.Show(r)
	if err != nil {
		return facts, err
	}
	d.Story.Typed(client{folder: d.scene.folder()}.curl("/echo/list"))
	d.Story.Came(removed.Answer.Body + "\n")
	if facts.Line, err = d.scene.backendLine(ctx, "/echo/list", 403, GeneratorID); err != nil {
		return facts, err
	}
	d.line(facts.Line)
	d.Story.Say("And back again:")
	if r, facts.Back, err = d.scene.list(ctx, "/ns/cert-gen/sa/generator, /outside/*", 200); err != nil {
		return facts, err
	}
	d.Show(r)
	after, err := d.Scene.Pod(ctx, Backend, "app="+Backend)
	if err == nil {
		err = scene.SamePod(before, after)
	}
	if err != nil {
		return facts, err
	}
	d.Story.Checked("refused %.1f s after the change and served %.1f s after the next, with no restart", removed.Seconds, facts.Back.Seconds)
	return facts, nil
}
