package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// encode writes m as compact JSON, fields in their order of declaration. protojson puts white space in at random, on
// purpose, which would make every re-injection look like a change.
func encode(m proto.Message) (string, error) {
	name := m.ProtoReflect().Descriptor().FullName()
	if err := validate(m); err != nil {
		return "", fmt.Errorf("%s breaks a rule of Envoy's: %w", name, err)
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return "", fmt.Errorf("compact %s: %w", name, err)
	}
	return out.String(), nil
}

// file is the content of a file of the proxy's.
func (p envoy) file(m proto.Message) (string, error) {
	document, err := encode(m)
	if err != nil || p.JSONFiles {
		return document, err
	}
	return short(document), nil
}

// resources is a file of dynamic resources.
func resources[M proto.Message](all []M) proto.Message {
	response := &discoveryv3.DiscoveryResponse{}
	for _, resource := range all {
		response.Resources = append(response.Resources, pack(resource))
	}
	return response
}

// pack wraps m. Only text that is not UTF-8 could fail, and [ir.Proxy.Validate] lets none in.
func pack(m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil {
		panic(fmt.Sprintf("pack %s: %v", m.ProtoReflect().Descriptor().FullName(), err))
	}
	return packed
}

func lasting(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

func count(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

func yes() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }

func no() *wrapperspb.BoolValue { return wrapperspb.Bool(false) }

func socketAddress(host string, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

// watchedFile is a source in [ConfigDir]. Without the watched directory Envoy would see no change:
// the kubelet never touches the file itself, only the symbolic link above it.
func (p envoy) watchedFile(name string) *corev3.ConfigSource {
	if p.JSONFiles {
		name = JSONFile(name)
	}
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path:             ConfigDir + "/" + name,
			WatchedDirectory: &corev3.WatchedDirectory{Path: ConfigDir},
		}},
	}
}
