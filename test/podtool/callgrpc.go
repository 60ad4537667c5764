package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const protocolGRPC = "grpc"

// greeting is what callers send. Servers send it back behind their name.
const greeting = "hello"

// grpcCaller calls podtool.v1.Echo over one connection, or over a new one for each call.
type grpcCaller struct {
	address   string
	stream    bool
	keepAlive bool
	dials     atomic.Int64
	kept      *grpc.ClientConn
}

func newGRPCCaller(address string, stream, keepAlive bool) *grpcCaller {
	return &grpcCaller{address: address, stream: stream, keepAlive: keepAlive}
}

// connect does not dial yet: the first call does.
func (c *grpcCaller) connect() (*grpc.ClientConn, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	connection, err := grpc.NewClient("passthrough:///"+c.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), // what remains is the repetition of calls of which nothing was sent
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c.dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}))
	if err == nil && c.keepAlive {
		c.kept = connection
	}
	return connection, err
}

func (c *grpcCaller) call(ctx context.Context, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result := answer{Started: time.Now(), Protocol: protocolGRPC}
	dialled := c.dials.Load()
	connection, err := c.connect()
	if err == nil {
		if c.stream {
			result.Body, err = callCount(ctx, connection)
		} else {
			result.Body, err = callSay(ctx, connection)
		}
		if !c.keepAlive {
			err = errors.Join(err, connection.Close())
		}
	}
	result.Latency = time.Since(result.Started)
	result.Reused = c.dials.Load() == dialled
	if err == nil {
		result.Pod, err = podOf(result.Body)
	}
	result.Err = err
	return result
}

func (c *grpcCaller) close() {
	if c.kept != nil {
		_ = c.kept.Close()
	}
}

func callSay(ctx context.Context, connection *grpc.ClientConn) (string, error) {
	out := new(wrapperspb.StringValue)
	err := connection.Invoke(ctx, sayMethod, wrapperspb.String(greeting), out)
	return out.GetValue(), err
}

// openCount sends what the stream's messages answer.
func openCount(ctx context.Context, connection *grpc.ClientConn) (grpc.ClientStream, error) {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, countMethod)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(wrapperspb.String(greeting)); err != nil && !errors.Is(err, io.EOF) { // EOF: the reason comes by RecvMsg
		return nil, err
	}
	return stream, stream.CloseSend()
}

// callCount returns the last of the stream's messages.
func callCount(ctx context.Context, connection *grpc.ClientConn) (string, error) {
	stream, err := openCount(ctx, connection)
	if err != nil {
		return "", err
	}
	last := new(wrapperspb.StringValue)
	for received := 0; ; received++ {
		err := stream.RecvMsg(last)
		switch {
		case errors.Is(err, io.EOF) && received == countMessages:
			return last.GetValue(), nil
		case errors.Is(err, io.EOF):
			return "", fmt.Errorf("expected %d messages, got %d", countMessages, received)
		case err != nil:
			return "", fmt.Errorf("after %d of %d messages: %w", received, countMessages, err)
		}
	}
}

// podOf returns the name of the server that answered "NAME hello".
func podOf(line string) (string, error) {
	pod, rest, _ := strings.Cut(line, " ")
	if pod == "" || rest != greeting {
		return "", fmt.Errorf("expected an answer like %q, got %q", "NAME "+greeting, line)
	}
	return pod, nil
}
