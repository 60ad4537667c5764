package main

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service podtool.v1.Echo. Its messages are well-known types, so that it needs no generated code.
const (
	echoService   = "podtool.v1.Echo"
	sayMethod     = "/" + echoService + "/Say"
	countMethod   = "/" + echoService + "/Count"
	countMessages = 5
	countGap      = 100 * time.Millisecond
)

// echoServer is what grpc-go checks a service's implementation against.
type echoServer interface {
	say(*wrapperspb.StringValue) *wrapperspb.StringValue
	count(*wrapperspb.StringValue, grpc.ServerStream) error
}

func newGRPCService(listener net.Listener, name string, state *health) service {
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService,
		HandlerType: (*echoServer)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Say",
			Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				in := new(wrapperspb.StringValue)
				if err := decode(in); err != nil {
					return nil, err
				}
				return srv.(echoServer).say(in), nil
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName:    "Count",
			ServerStreams: true,
			Handler: func(srv any, stream grpc.ServerStream) error {
				in := new(wrapperspb.StringValue)
				if err := stream.RecvMsg(in); err != nil {
					return err
				}
				return srv.(echoServer).count(in, stream)
			},
		}},
	}, echo{name})
	healthpb.RegisterHealthServer(server, grpcHealth{state: state})
	return service{
		protocol: "grpc",
		listener: listener,
		serve:    func() error { return server.Serve(listener) },
		finish: func(ctx context.Context) error {
			finished := make(chan struct{})
			go func() {
				server.GracefulStop()
				close(finished)
			}()
			select {
			case <-finished:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		cut: server.Stop,
	}
}

// echo answers with its name, a space, and what it got.
type echo struct{ name string }

func (e echo) say(in *wrapperspb.StringValue) *wrapperspb.StringValue {
	return wrapperspb.String(e.name + " " + in.GetValue())
}

func (e echo) count(in *wrapperspb.StringValue, stream grpc.ServerStream) error {
	for n := range countMessages {
		if n > 0 {
			select {
			case <-stream.Context().Done():
				return stream.Context().Err()
			case <-time.After(countGap):
			}
		}
		if err := stream.SendMsg(e.say(in)); err != nil {
			return err
		}
	}
	return nil
}

// grpcHealth is grpc.health.v1.Health; a service's name is a kind, the empty one is liveness.
type grpcHealth struct {
	healthpb.UnimplementedHealthServer
	state *health
}

func (g grpcHealth) Check(_ context.Context, request *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	kind := request.GetService()
	if kind == "" {
		kind = "liveness"
	}
	on, known := g.state.ask(kind, nil, false)
	switch {
	case !known:
		return nil, status.Error(codes.NotFound, unknownKind(kind).Error())
	case on:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
}
