package templates

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Each line of the access log is one JSON object. "event" says what it is about; "peer" is always the
// other side's SPIFFE ID, "self" ours, "reason" why TLS failed. What is not known is left out.
// Paths are logged without their query, which may hold secrets.

// requestLog has a line for every request that a caller sent.
func requestLog(listener string) *accesslogv3.AccessLog {
	return stdoutLog(listener, "request", nil, map[string]string{
		"peer":     "%DOWNSTREAM_PEER_URI_SAN%",
		"self":     "%DOWNSTREAM_LOCAL_URI_SAN%",
		"remote":   "%DOWNSTREAM_REMOTE_ADDRESS%",
		"method":   "%REQUEST_HEADER(:METHOD)%",
		"path":     "%PATH(NQ:ORIG_OR_PATH)%",
		"protocol": "%PROTOCOL%",
		"status":   "%RESPONSE_CODE%",
		"flags":    "%RESPONSE_FLAGS%",
		"details":  "%RESPONSE_CODE_DETAILS%",
		"reason":   "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"ms":       "%DURATION%",
	})
}

// refusedLog has a line for every connection whose handshake failed. It belongs to the listener, because
// such a connection never becomes a request; the filter drops all others, such as health checks.
func refusedLog(listener string) *accesslogv3.AccessLog {
	filter := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: pack(&celv3.ExpressionFilter{
				Expression: "connection.transport_failure_reason != ''",
			})},
		},
	}}
	return stdoutLog(listener, "handshake_refused", filter, map[string]string{
		"peer":   "%DOWNSTREAM_PEER_URI_SAN%",
		"self":   "%DOWNSTREAM_LOCAL_URI_SAN%",
		"remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
		"reason": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
	})
}

// upstreamRequestLog has a line for every request of the app.
func upstreamRequestLog(listener string) *accesslogv3.AccessLog {
	return stdoutLog(listener, "upstream_request", nil, map[string]string{
		"peer":     "%UPSTREAM_PEER_URI_SAN%",
		"self":     "%UPSTREAM_LOCAL_URI_SAN%",
		"upstream": "%UPSTREAM_HOST%",
		"method":   "%REQUEST_HEADER(:METHOD)%",
		"path":     "%PATH(NQ:ORIG_OR_PATH)%",
		"protocol": "%PROTOCOL%",
		"status":   "%RESPONSE_CODE%",
		"flags":    "%RESPONSE_FLAGS%",
		"details":  "%RESPONSE_CODE_DETAILS%",
		"reason":   "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"ms":       "%DURATION%",
	})
}

// upstreamConnectionLog has a line for every connection of the app that carries plain TCP.
func upstreamConnectionLog(listener string) *accesslogv3.AccessLog {
	return stdoutLog(listener, "upstream_connection", nil, map[string]string{
		"peer":     "%UPSTREAM_PEER_URI_SAN%",
		"self":     "%UPSTREAM_LOCAL_URI_SAN%",
		"upstream": "%UPSTREAM_HOST%",
		"flags":    "%RESPONSE_FLAGS%",
		"reason":   "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"received": "%BYTES_RECEIVED%",
		"sent":     "%BYTES_SENT%",
		"ms":       "%DURATION%",
	})
}

// stdoutLog goes through Envoy's own logger of standard output; /dev/stdout as a file cannot be opened by
// another user than the container's first.
func stdoutLog(listener, event string, filter *accesslogv3.AccessLogFilter, fields map[string]string) *accesslogv3.AccessLog {
	format := &structpb.Struct{Fields: map[string]*structpb.Value{
		"time":     structpb.NewStringValue("%START_TIME%"),
		"event":    structpb.NewStringValue(event),
		"listener": structpb.NewStringValue(listener),
	}}
	for key, command := range fields {
		format.Fields[key] = structpb.NewStringValue(command)
	}
	return &accesslogv3.AccessLog{
		Name:   "envoy.access_loggers.stdout",
		Filter: filter,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format:          &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
				OmitEmptyValues: true,
			}},
		})},
	}
}
