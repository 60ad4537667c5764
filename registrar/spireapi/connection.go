package spireapi

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Reconnected gets a value each time the server can be reached again after it could not, be it for want of an own
// identity: it may be another one, or have lost what it knew. Several that nobody has received are one. A connection
// that the server ends and takes up again at once, as SPIRE's does every three minutes over TCP, is not among them.
func (c *Client) Reconnected() <-chan struct{} { return c.reconnected }

// watch keeps the connection up, also when there are no calls, and notifies when it is back.
func (c *Client) watch(ctx context.Context) {
	defer close(c.watched)
	failed, err := c.waitForIdentity(ctx)
	if err != nil {
		return
	}
	for state := c.conn.GetState(); state != connectivity.Shutdown; state = c.conn.GetState() {
		switch state {
		case connectivity.Idle:
			c.conn.Connect()
		case connectivity.TransientFailure:
			failed = true
		case connectivity.Ready:
			if failed {
				failed = false
				select {
				case c.reconnected <- struct{}{}:
				default: // there is one already
				}
			}
		case connectivity.Connecting, connectivity.Shutdown:
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// waitForIdentity returns when the client can show who it is, and says whether it could not at first. An attempt to
// connect without would fail, and so would the calls until the next one.
func (c *Client) waitForIdentity(ctx context.Context) (late bool, err error) {
	if c.identity == nil {
		return false, nil
	}
	select {
	case <-c.identity.answered:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case <-c.identity.issued:
		return false, nil
	default:
	}
	select {
	case <-c.identity.issued:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// observing reports each call that is sent.
func observing(observe func(method string, code codes.Code, took time.Duration)) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		start := time.Now()
		err := invoke(ctx, method, req, reply, conn, opts...)
		observe(method[strings.LastIndex(method, "/")+1:], status.Code(err), time.Since(start))
		return err
	}
}
