package frontproxy

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func tellForged(ctx context.Context, d demo) (any, error) {
	facts := struct {
		Sent   string `json:"sent"`
		Answer Answer `json:"answer"`
	}{Sent: "By=" + ProxyID + ";Hash=" + strings.Repeat("0", 64) + ";URI=" + OutsideID}
	c := client{folder: d.scene.folder()}
	header := "X-Forwarded-Client-Cert: " + facts.Sent
	d.Story.Say("The client says in the header that names callers that the proxy calls for somebody else:")
	d.Story.Typed(c.curl("/echo", header))
	var err error
	if facts.Answer, err = d.scene.get(ctx, c, Proxy, "/echo", header); err != nil {
		return facts, err
	}
	d.Story.Came(facts.Answer.Body)
	if strings.Contains(facts.Answer.Forwarded, OutsideID) || strings.Contains(facts.Answer.Forwarded, "0000") {
		return facts, &scene.Mismatch{What: "X-Forwarded-Client-Cert at the app", Expected: "nothing of what the client wrote", Got: facts.Answer.Forwarded}
	}
	if err := facts.Answer.callers(GeneratorID, ProxyID); err != nil {
		return facts, err
	}
	d.Story.Checked("what the client wrote is gone; the app sees %s, as before", GeneratorID)
	return facts, nil
}
