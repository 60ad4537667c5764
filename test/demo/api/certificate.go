package api

import (
	"context"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// AdminCommand makes the administration interface of the API's Envoy reachable from here.
func AdminCommand() scene.Command { return scene.AdminCommand(Namespace, "deploy/"+API) }

// Certificate asks the API's Envoy for its SVID.
func (s stage) Certificate(ctx context.Context) (scene.Certificate, error) {
	answers, err := s.Admin(ctx, Namespace, "deploy/"+API, "/certs")
	if err != nil {
		return scene.Certificate{}, err
	}
	certificate, err := scene.ParseCertificate(answers[0])
	if err != nil {
		return certificate, err
	}
	if life := certificate.Expires.Sub(certificate.From); certificate.ID != ID(API) || life > time.Minute {
		return certificate, &scene.Mismatch{
			What: "the SVID of the API's Envoy", Expected: ID(API) + " with a life of about 30 s",
			Got: fmt.Sprintf("%s with %s", certificate.ID, life), Look: AdminCommand().String(),
		}
	}
	return certificate, nil
}
