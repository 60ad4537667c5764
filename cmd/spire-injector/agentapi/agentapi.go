// Package agentapi asks the SPIRE agent for what a program beside the app keeps. The agent is local, may be away, and
// refuses until the registration entry has arrived.
package agentapi

import (
	"context"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Bounds of waiting for the agent.
const (
	FetchTimeout = 5 * time.Second // of one answer
	Retry        = 200 * time.Millisecond
	LongestRetry = 5 * time.Second
)

// Dial returns a client of the Workload API at an address, such as unix:///run/spire/sockets/agent.sock. It need not be
// there yet.
func Dial(ctx context.Context, address string) (*workloadapi.Client, error) {
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(address), workloadapi.WithBackoffStrategy(steady{}),
		workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: Retry, Multiplier: 1, MaxDelay: Retry},
			MinConnectTimeout: time.Second,
		})))
	if err != nil {
		return nil, fmt.Errorf("the Workload API at %s: %w", address, err)
	}
	return client, nil
}

// steady asks the agent again and again at the same interval: it refuses until the registration entry has arrived.
type steady struct{}

func (steady) NewBackoff() workloadapi.Backoff { return steady{} }
func (steady) Next() time.Duration             { return Retry }
func (steady) Reset()                          {}

// RetryAfter is how long to wait before a token is fetched again, after as many failures in a row and one more: ever
// longer, from [Retry] to [LongestRetry].
func RetryAfter(failures int) time.Duration { return min(Retry<<min(failures, 10), LongestRetry) }

// IssuedAt is when a token was issued, or now if it does not say that.
func IssuedAt(svid *jwtsvid.SVID, now time.Time) time.Time {
	if at, ok := svid.Claims["iat"].(float64); ok {
		return time.Unix(int64(at), 0)
	}
	return now
}

// Half is when half of a token's lifetime is over, when agents renew it.
func Half(issued, expiry time.Time) time.Time { return issued.Add(expiry.Sub(issued) / 2) }
