package templates

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestPackedMessagesAreValidated breaks a rule of Envoy's two messages deep, where the outer ones do not look.
func TestPackedMessagesAreValidated(t *testing.T) {
	manager := &hcmv3.HttpConnectionManager{} // without the required prefix of its statistics
	listener := &listenerv3.Listener{
		Address:      socketAddress("127.0.0.1", 1),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{networkFilter("http", manager)}}},
	}
	response := &discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{pack(listener)}}
	if err := response.ValidateAll(); err != nil {
		t.Fatalf("the outer message finds it by itself: %v", err)
	}
	if _, err := encode(response); err == nil || !strings.Contains(err.Error(), "HttpConnectionManager.StatPrefix") {
		t.Errorf("got %v, want an error that names the prefix", err)
	}
	if _, err := encode(&corev3.SocketAddress{}); err == nil {
		t.Error("the message itself is not validated")
	}
	broken := &anypb.Any{TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener", Value: []byte{0xff}}
	if _, err := encode(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{broken}}); err == nil {
		t.Error("what cannot be unpacked is taken")
	}
}
