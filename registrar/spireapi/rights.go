package spireapi

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// rights are what is known of the own ID's. SPIRE denies a caller who is no admin in the same words as one that its
// authorization policy does not let, so that only its other answers distinguish the two.
type rights struct{ admin atomic.Bool }

// learning learns from each answer. All methods that are called want an admin.
func (r *rights) learning(
	ctx context.Context,
	method string,
	req, reply any,
	conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	switch code := status.Code(err); {
	case code == codes.OK || code == codes.NotFound:
		r.admin.Store(true)
	case code == codes.PermissionDenied && isRead(method):
		r.admin.Store(false) // it may have been one before; a policy has no reason to deny reading
	}
	return err
}

func isRead(method string) bool {
	name := method[strings.LastIndex(method, "/")+1:]
	return strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Get")
}
