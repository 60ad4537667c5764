package templates

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Envoy's own limits of a message are those of a public edge: fewer and shorter headers than HTTP servers take, and the
// standard methods alone. An app that had none of them before it had a proxy keeps what it had, up to bounds beyond those
// of nearly all servers.
const (
	headers = 10_000
	// headersKB is as long as one header of HTTP/2 can be: a longer one would end the connection, which others share.
	headersKB = 256
	// The callee takes what the caller's Envoy adds too.
	addedHeadersKB = 64
	addedHeaders   = 100
)

const (
	// http10Host is the Host of a request of HTTP/1.0 that has none. Towards an upstream it becomes the upstream's.
	http10Host = "localhost"
	// notWebSocket are the protocols that a client may offer to change to and no server has to accept, such as "TLS/1.2"
	// and "h2c". Every other offer is taken for a web socket.
	notWebSocket = "(?i)([^w]|w[^e]|we[^b]).*"
)

// likeServer makes a listener take the messages that an HTTP server takes, and hand them on as they are.
func likeServer(manager *hcmv3.HttpConnectionManager) {
	manager.HttpProtocolOptions = &corev3.Http1ProtocolOptions{
		AcceptHttp_10:         true,
		DefaultHostForHttp_10: http10Host,
		AllowCustomMethods:    true,
		EnableTrailers:        true,
		HeaderKeyFormat:       caseAsWritten(),
		IgnoreHttp_11Upgrade:  []*matcherv3.StringMatcher{patternMatcher(notWebSocket)},
	}
	manager.Proxy_100Continue = true
	manager.MaxRequestHeadersKb = count(headersKB)
	common(manager).MaxHeadersCount = count(headers)
	manager.Http2ProtocolOptions.MaxHeaderFieldSizeKb = count(headersKB)
}

// likeCallee is [likeServer] with room for what a caller's Envoy adds.
func likeCallee(manager *hcmv3.HttpConnectionManager) {
	manager.MaxRequestHeadersKb = count(headersKB + addedHeadersKB)
	common(manager).MaxHeadersCount = count(headers + addedHeaders)
}

// likeEdge bounds again what the public may send, but for what does no harm.
func likeEdge(manager *hcmv3.HttpConnectionManager) {
	manager.HttpProtocolOptions.AllowCustomMethods = false
	// An app that takes trailers for headers would believe what is removed from headers alone.
	manager.HttpProtocolOptions.EnableTrailers = false
}

// answersHTTP10 makes a listener that asks nothing else of its callers take HTTP/1.0.
func answersHTTP10() *corev3.Http1ProtocolOptions {
	return &corev3.Http1ProtocolOptions{AcceptHttp_10: true, DefaultHostForHttp_10: http10Host}
}

// likeClient makes a cluster take the answers that an HTTP client takes, with room for what the callee's Envoy adds.
// Options is nil where the answers are our own.
func likeClient(options *corev3.HttpProtocolOptions) *corev3.HttpProtocolOptions {
	if options != nil && options.MaxHeadersCount == nil {
		options.MaxHeadersCount = count(headers + addedHeaders)
		options.MaxResponseHeadersKb = count(headersKB + addedHeadersKB)
	}
	return options
}

// likeFirstClient is [likeClient] towards the app itself, to whose answers nothing has been added.
func likeFirstClient(options *corev3.HttpProtocolOptions) *corev3.HttpProtocolOptions {
	options.MaxHeadersCount = count(headers)
	options.MaxResponseHeadersKb = count(headersKB)
	return options
}

// http2Client is the part of it that HTTP/2 has alone.
func http2Client(options *corev3.HttpProtocolOptions) *corev3.Http2ProtocolOptions {
	if options == nil {
		return &corev3.Http2ProtocolOptions{}
	}
	return ownStreams(&corev3.Http2ProtocolOptions{MaxHeaderFieldSizeKb: count(headersKB)})
}

// http1Client hands messages of HTTP/1 on as they are, but for the case of the names in answers, see [keepCase].
func http1Client() *corev3.Http1ProtocolOptions {
	return &corev3.Http1ProtocolOptions{EnableTrailers: true}
}

// keepCase keeps the case of the names in the app's answers. It is no part of upstreams: a pod may have a hundred, and
// the text of this would be a tenth of all. Their requests keep it all the same.
func keepCase(options *upstreamhttpv3.HttpProtocolOptions) {
	if http1 := options.GetExplicitHttpConfig().GetHttpProtocolOptions(); http1 != nil {
		http1.HeaderKeyFormat = caseAsWritten()
	}
}

// caseAsWritten keeps the case of the names of headers, which means nothing, but which some apps look at.
func caseAsWritten() *corev3.Http1ProtocolOptions_HeaderKeyFormat {
	return &corev3.Http1ProtocolOptions_HeaderKeyFormat{
		HeaderFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter{
			StatefulFormatter: &corev3.TypedExtensionConfig{
				Name: "case", TypedConfig: pack(&preservecasev3.PreserveCaseFormatterConfig{ForwardReasonPhrase: true}),
			},
		},
	}
}
