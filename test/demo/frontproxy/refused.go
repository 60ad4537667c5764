package frontproxy

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Refused is a call that ended in the handshake.
type Refused struct {
	// Alert is what the client was told.
	Alert string `json:"alert"`
	// Reason is what the Envoy that refused it wrote.
	Reason string `json:"serverReason"`
}

// refusal has a client refused that comes as how says, and returns what both sides say about it. Alert may be empty.
func (s stage) refusal(ctx context.Context, c client, how, service, peer, alert, reason string) (Refused, error) {
	start := time.Now()
	a, err := s.get(ctx, c, service, "/echo")
	told, isRefused := refused(err)
	r := Refused{Alert: told}
	if !isRefused || !strings.Contains(told, alert) {
		expected := "a refusal in the handshake"
		if alert != "" {
			expected += ", with " + alert
		}
		return r, &scene.Mismatch{What: "call of " + service + " " + how, Expected: expected, Got: a.said(err), Look: envoyLog(service).String()}
	}
	var line scene.LogLine
	found, err := scene.Poll(ctx, scene.LogLimit, func() (bool, error) {
		log, err := s.Run(ctx, envoyLog(service))
		for _, line = range scene.LinesOf(log.Stdout, scene.EventRefused, peer, start.Add(-scene.ClockSkew), time.Now().Add(scene.ClockSkew)) {
			if strings.Contains(line.Reason, reason) {
				return true, err
			}
		}
		return false, err
	})
	r.Reason = line.Reason
	if err == nil && !found {
		err = &scene.Mismatch{What: envoyLog(service).String(), Expected: "a refused handshake with " + reason, Got: line.Reason}
	}
	return r, err
}

func tellRefused(ctx context.Context, d demo) (any, error) {
	facts := struct {
		Bare      Refused `json:"withoutCertificate"`
		SelfMade  Refused `json:"selfMadeCertificate"`
		AtBackend Refused `json:"aroundTheProxy"`
	}{}
	c := client{folder: d.scene.folder(), bare: true}
	var err error
	if facts.Bare, err = d.scene.refusal(ctx, c, "without a certificate", Proxy, "", "certificate required", "PEER_DID_NOT_RETURN_A_CERTIFICATE"); err != nil {
		return facts, err
	}
	d.Story.Say("The same call without the certificate:")
	d.Story.Typed(c.curl("/echo"))
	d.Story.Came(facts.Bare.Alert + "\n")
	d.Story.Say("The proxy's Envoy has a line about it:")
	d.Story.Came(facts.Bare.Reason + "\n")

	selfMade := client{folder: filepath.Join(d.scene.folder(), "self-made")}
	if err := makeCertificate(selfMade.folder, filepath.Join(d.scene.folder(), bundleFile)); err != nil {
		return facts, err
	}
	if facts.SelfMade, err = d.scene.refusal(ctx, selfMade, "with a self-made certificate", Proxy, GeneratorID, "unknown", "CERTIFICATE_VERIFY_FAILED"); err != nil {
		return facts, err
	}
	d.Story.Say("With a certificate of the client's own making that says %s:", GeneratorID)
	d.Story.Came(facts.SelfMade.Alert + "\n" + facts.SelfMade.Reason + "\n")

	around := client{folder: d.scene.folder(), anyServer: true}
	if facts.AtBackend, err = d.scene.refusal(ctx, around, "with the generator's certificate", Backend, GeneratorID, "", "SAN_match"); err != nil {
		return facts, err
	}
	d.Story.Say("And with the good certificate, but around the proxy: the backend's Envoy lets nobody in but the proxy.")
	d.Story.Came(facts.AtBackend.Reason + "\n")
	d.Story.Checked("refused in the handshake: %s; a self-made certificate; the generator's at the backend", facts.Bare.Alert)
	return facts, nil
}
