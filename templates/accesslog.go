package templates

import (
	"maps"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Each line of the access log is one JSON object. "event" says what it is about; "peer" is always the
// other side's SPIFFE ID, "self" ours, "reason" why TLS failed. What is not known is left out.
// Paths are logged without their query, which may hold secrets.
//
//	request, connection              of a caller
//	plain_request, plain_connection  of a caller in plain text, where mutual TLS is possible
//	handshake_refused                of a caller
//	upstream_request, upstream_connection  of the app
//
// "client" is the SPIFFE ID on whose behalf a gateway calls, or all of X-Forwarded-Client-Cert if it names none.
// "rule" is which items of the list of peers the caller is in, if none of them lets the request in.
// "life" is for how many seconds a connection may last whose caller's certificate ends soon. When "ms" says as much, that
// was its end, whatever "flags" says.
// "subject" is that of a verified JWT-SVID. "audit" is "denied" when peers would have refused it, but are only audited,
// else "allowed".

// requestFields are about any request.
func requestFields() map[string]string {
	return map[string]string{
		"method":   "%REQUEST_HEADER(:METHOD)%",
		"path":     "%PATH(NQ:ORIG_OR_PATH)%",
		"protocol": "%PROTOCOL%",
		"status":   "%RESPONSE_CODE%",
		"flags":    "%RESPONSE_FLAGS%",
		"details":  "%RESPONSE_CODE_DETAILS%",
		"reason":   "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"ms":       "%DURATION%",
	}
}

// connectionFields are about any connection that carries plain TCP.
func connectionFields() map[string]string {
	return map[string]string{
		"flags":    "%RESPONSE_FLAGS%",
		"reason":   "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"received": "%BYTES_RECEIVED%",
		"sent":     "%BYTES_SENT%",
		"ms":       "%DURATION%",
	}
}

// callerFields are about who called.
func callerFields() map[string]string {
	return map[string]string{
		"peer":   "%DOWNSTREAM_PEER_URI_SAN%",
		"self":   "%DOWNSTREAM_LOCAL_URI_SAN%",
		"remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
	}
}

// calledFields are about whom the app called.
func calledFields() map[string]string {
	return map[string]string{
		"peer":     "%UPSTREAM_PEER_URI_SAN%",
		"self":     "%UPSTREAM_LOCAL_URI_SAN%",
		"upstream": "%UPSTREAM_HOST%",
	}
}

// requestLog has a line for every request that a caller sent.
func requestLog(in ir.Inbound, event string) *accesslogv3.AccessLog {
	fields := merged(requestFields(), callerFields())
	fields["remote"] = remoteField(in)
	if in.Audits() {
		fields["audit"] = "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%"
	}
	if len(in.Rules) > 0 {
		fields["rule"] = ruleField
	}
	if !in.JWT.IsZero() {
		fields["subject"] = subjectField(in.JWT)
	}
	if len(in.Forwarded) > 0 {
		fields["client"] = "%DYNAMIC_METADATA(" + metadataNamespace + ":" + clientKey + ")%"
	}
	if in.App == 0 {
		fields["host"] = "%REQUEST_HEADER(:AUTHORITY)%"
		fields["upstream"] = "%UPSTREAM_HOST%"
		fields["upstream_peer"] = "%UPSTREAM_PEER_URI_SAN%"
	}
	return stdoutLog(inboundListener(in), event, nil, fields)
}

// connectionLog has a line for every connection that went on to the app, also when the app was not there. One that was
// refused went nowhere, and has its line in refusedLog.
func connectionLog(in ir.Inbound, event string) *accesslogv3.AccessLog {
	return connectionLogWith(in, event, callerFields())
}

// earlyLog is [connectionLog] of a port whose connections end with their callers' certificates.
func earlyLog(in ir.Inbound) *accesslogv3.AccessLog {
	fields := callerFields()
	fields["life"] = "%FILTER_STATE(" + lifeKey + ":PLAIN)%"
	return connectionLogWith(in, "connection", fields)
}

func connectionLogWith(in ir.Inbound, event string, fields map[string]string) *accesslogv3.AccessLog {
	if in.Audits() {
		fields["audit"] = "%DYNAMIC_METADATA(envoy.filters.network.rbac:shadow_engine_result)%"
	}
	return stdoutLog(inboundListener(in), event, onlyIf("upstream.address != ''"), merged(connectionFields(), fields))
}

// plainChainName is the name of what serves plain text on a permissive port.
const plainChainName = "plain"

// refusedLog has a line for every connection whose handshake failed. It belongs to the listener, because
// such a connection never becomes a request; the filter drops all others, such as health checks, and plain text on a
// permissive port, which Envoy tells from TLS by a handshake that fails.
func refusedLog(in ir.Inbound) *accesslogv3.AccessLog {
	fields := merged(callerFields(), map[string]string{"reason": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"})
	failed := "connection.transport_failure_reason != ''"
	if in.TLS == ir.Permissive {
		failed += " && xds.filter_chain_name != '" + plainChainName + "'"
	}
	return stdoutLog(inboundListener(in), "handshake_refused", onlyIf(failed), fields)
}

// upstreamRequestLog has a line for every request of the app.
func upstreamRequestLog(listener requestListener) *accesslogv3.AccessLog {
	fields := merged(requestFields(), calledFields())
	if listener.name == namesListener { // the address means nothing to people
		fields["host"] = "%REQUEST_HEADER(:AUTHORITY)%"
	}
	return stdoutLog(upstreamPrefix+listener.socket, "upstream_request", nil, fields)
}

// upstreamConnectionLog has a line for every connection of the app that carries plain TCP.
func upstreamConnectionLog(listener string) *accesslogv3.AccessLog {
	return stdoutLog(listener, "upstream_connection", nil, merged(connectionFields(), calledFields()))
}

func merged(base, more map[string]string) map[string]string {
	maps.Copy(base, more)
	return base
}

// onlyIf keeps the lines for which a CEL expression holds.
func onlyIf(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name: "cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{
				TypedConfig: pack(&celv3.ExpressionFilter{Expression: expression}),
			},
		},
	}}
}

// stdoutLog goes through Envoy's own logger of standard output; /dev/stdout as a file cannot be opened by
// another user than the container's first.
func stdoutLog(
	listener, event string,
	filter *accesslogv3.AccessLogFilter,
	fields map[string]string,
) *accesslogv3.AccessLog {
	format := &structpb.Struct{Fields: map[string]*structpb.Value{
		"time":     structpb.NewStringValue("%START_TIME%"),
		"event":    structpb.NewStringValue(event),
		"listener": structpb.NewStringValue(listener),
	}}
	for key, command := range fields {
		format.Fields[key] = structpb.NewStringValue(command)
	}
	return &accesslogv3.AccessLog{
		Name:   "stdout",
		Filter: filter,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format:          &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
				OmitEmptyValues: true,
			}},
		})},
	}
}
