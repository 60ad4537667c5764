package templates

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
)

// listeners is the content of ListenersFile.
func (p envoy) listeners() []*listenerv3.Listener {
	var out []*listenerv3.Listener
	for _, in := range p.Inbound {
		out = append(out, p.fromCalledAddress(p.inbound(in), in))
		if p.endsEarly(in) {
			out = append(out, p.earlyListener(in))
		}
	}
	return boundListeners(p.onPodAddresses(append(out, p.outbound()...)))
}

func networkFilter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(config)}}
}
