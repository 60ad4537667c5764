package spireapi_test

import (
	"errors"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

func TestSVIDExpiryFollowsTheSVID(t *testing.T) {
	ca := spiretest.NewCA(t, exampleOrg)
	agent := spiretest.NewAgent(t, ca)
	agent.Serve(t)
	client := dial(t, spireapi.Config{ServerAddress: "127.0.0.1:1", AgentSocket: agent.Address()})
	if expiry, ok := client.SVIDExpiry(); ok {
		t.Errorf("expected no expiry before there is an SVID, got %s", expiry)
	}
	for _, life := range []time.Duration{time.Hour, 2 * time.Hour} {
		svid := ca.SVID(t, injectorID, life)
		agent.Give(svid)
		eventually(t, 3*time.Second, func() error {
			if expiry, ok := client.SVIDExpiry(); !ok || !expiry.Equal(svid.Certificates[0].NotAfter) {
				return errors.New("the expiry is not that of the SVID")
			}
			return nil
		})
	}
}

func TestNoSVIDExpiryOverTheServersSocket(t *testing.T) {
	client := dial(t, spireapi.Config{ServerAddress: "unix:///nowhere/api.sock"})
	if expiry, ok := client.SVIDExpiry(); ok {
		t.Errorf("expected no expiry without an SVID, got %s", expiry)
	}
}
