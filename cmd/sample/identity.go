package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// identity is this container's own, and whom it can verify, both kept fresh by the SPIRE agent. Close it.
type identity struct {
	x509 *workloadapi.X509Source
	jwt  *workloadapi.JWTSource
}

// newIdentity waits for the agent's first answer, also for a registration entry that is still on its way.
func newIdentity(ctx context.Context, socket string) (*identity, error) {
	client := workloadapi.WithClientOptions(workloadapi.WithAddr(socket))
	certificates, err := workloadapi.NewX509Source(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("the agent at %s gave no X.509-SVID: %w", socket, errors.Join(err, context.Cause(ctx)))
	}
	tokens, err := workloadapi.NewJWTSource(ctx, client)
	if err != nil {
		_ = certificates.Close()
		return nil, fmt.Errorf("the agent at %s gave no JWT bundle: %w", socket, errors.Join(err, context.Cause(ctx)))
	}
	return &identity{x509: certificates, jwt: tokens}, nil
}

// token is a JWT-SVID of this container for an audience.
func (i *identity) token(ctx context.Context, audience string) (string, error) {
	svid, err := i.jwt.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return "", fmt.Errorf("the agent gave no JWT-SVID for %s: %w", audience, err)
	}
	return svid.Marshal(), nil
}

func (i *identity) close() {
	_ = errors.Join(i.x509.Close(), i.jwt.Close()) // ends streams to the agent, which does not mind
}
