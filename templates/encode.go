package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// encode writes m as compact JSON, fields in their order of declaration.
func encode(m proto.Message) (string, error) {
	return encodeWith(protojson.MarshalOptions{UseProtoNames: true}, m)
}

// encodeBriefly does the same with shorter names: those that protobuf gives fields in JSON, without underscores, numbers
// for values of enumerations, and types whose URLs name no host, of which nobody reads more than what follows the slash.
func encodeBriefly(m proto.Message) (string, error) {
	document, err := encodeWith(protojson.MarshalOptions{UseEnumNumbers: true}, m)
	return brieferTypes.Replace(document), err
}

const (
	typeHost = "type.googleapis.com/"
	// briefTypeHost is not empty, because Envoy takes no type for one that begins with the slash.
	briefTypeHost = "t/"
	// comparedTypes are those whose whole URL Envoy compares: what a filter may be matched by.
	comparedTypes = typeHost + "envoy.extensions.matching."
)

// brieferTypes takes no text for a type: there, the quotes would be escaped.
var brieferTypes = strings.NewReplacer(`"`+comparedTypes, `"`+comparedTypes, `"`+typeHost, `"`+briefTypeHost)

// encodeWith makes the white space predictable. protojson puts it in at random, on purpose, which would make every
// re-injection look like a change.
func encodeWith(options protojson.MarshalOptions, m proto.Message) (string, error) {
	name := m.ProtoReflect().Descriptor().FullName()
	if err := validate(m); err != nil {
		return "", fmt.Errorf("%s breaks a rule of Envoy's: %w", name, err)
	}
	raw, err := options.Marshal(m)
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
	if p.JSONFiles {
		return encode(m)
	}
	document, err := encodeBriefly(m)
	if err != nil {
		return "", err
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
