package envoy

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// span is what the tests read of one. Numbers are those of kinds in OTLP.
type span struct {
	trace, id, parent, name string
	kind                    uint64
	attributes              map[string]string // those that are text
	service                 string
}

const (
	kindServer = 2
	kindClient = 3
)

// collector takes spans by OTLP over gRPC.
type collector struct {
	port  uint16
	mu    sync.Mutex
	spans []span
}

// startCollector speaks TLS if it is given a configuration.
func startCollector(t *testing.T, config *tls.Config) *collector {
	t.Helper()
	listener, port := listen(t)
	c := &collector{port: port}
	options := []grpc.ServerOption{grpc.ForceServerCodecV2(rawCodec{})}
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var request []byte
				if err := decode(&request); err != nil {
					return nil, err
				}
				c.take(t, request)
				return new([]byte), nil // an empty message
			},
		}},
	}, c)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return c
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// take reads an ExportTraceServiceRequest: resource_spans 1 {resource 1 {attributes 1}, scope_spans 2 {spans 2}}.
func (c *collector) take(t *testing.T, request []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	eachField(t, request, func(number protowire.Number, resourceSpans []byte, _ uint64) {
		service := ""
		eachField(t, resourceSpans, func(number protowire.Number, content []byte, _ uint64) {
			eachField(t, content, func(inner protowire.Number, item []byte, _ uint64) {
				switch {
				case number == 1 && inner == 1:
					if key, value := attribute(t, item); key == "service.name" {
						service = value
					}
				case number == 2 && inner == 2:
					s := readSpan(t, item)
					s.service = service
					c.spans = append(c.spans, s)
				}
			})
		})
	})
}

// readSpan: trace_id 1, span_id 2, parent_span_id 4, name 5, kind 6, attributes 9.
func readSpan(t *testing.T, raw []byte) span {
	s := span{attributes: map[string]string{}}
	eachField(t, raw, func(number protowire.Number, content []byte, n uint64) {
		switch int32(number) {
		case 1:
			s.trace = hex.EncodeToString(content)
		case 2:
			s.id = hex.EncodeToString(content)
		case 4:
			s.parent = hex.EncodeToString(content)
		case 5:
			s.name = string(content)
		case 6:
			s.kind = n
		case 9:
			key, value := attribute(t, content)
			s.attributes[key] = value
		}
	})
	return s
}

// attribute is a KeyValue: key 1, value 2 {string_value 1}.
func attribute(t *testing.T, raw []byte) (key, value string) {
	eachField(t, raw, func(number protowire.Number, content []byte, _ uint64) {
		if number == 1 {
			key = string(content)
			return
		}
		eachField(t, content, func(number protowire.Number, text []byte, _ uint64) {
			if number == 1 {
				value = string(text)
			}
		})
	})
	return key, value
}

// eachField gives the content of fields with a length, or the number of the others.
func eachField(t *testing.T, raw []byte, visit func(protowire.Number, []byte, uint64)) {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			t.Errorf("not a message: %v", protowire.ParseError(n))
			return
		}
		raw = raw[n:]
		size := protowire.ConsumeFieldValue(number, kind, raw)
		if size < 0 {
			t.Errorf("not a field: %v", protowire.ParseError(size))
			return
		}
		switch {
		case kind == protowire.BytesType:
			content, _ := protowire.ConsumeBytes(raw)
			visit(number, content, 0)
		case kind == protowire.VarintType:
			value, _ := protowire.ConsumeVarint(raw)
			visit(number, nil, value)
		}
		raw = raw[size:]
	}
}

// of are the spans of requests to a path.
func (c *collector) of(path string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []span
	for _, s := range c.spans {
		if s.attributes["url.path"] == path {
			out = append(out, s)
		}
	}
	return out
}

// wait returns the spans of requests to a path when there are so many.
func (c *collector) wait(t *testing.T, path string, count int) []span {
	t.Helper()
	var out []span
	eventually(t, 15e9, fmt.Sprintf("%d spans of %s", count, path), func() error {
		out = c.of(path)
		if len(out) != count {
			return fmt.Errorf("got %d: %v", len(out), out)
		}
		return nil
	})
	return out
}
