package main

import (
	"bytes"
	"os"
	"path/filepath"
	"text/template"
)

// handWritten is what somebody would write who wants mutual TLS, a check of the peer and a line in the log for each
// request, and nothing else: Envoy's defaults for buffers, windows, limits and time-outs. In JSON the line has the fields
// of the generated configuration.
var handWritten = template.Must(template.New("").Parse(`
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Admin}}}}}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: {{.Listen}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          http_filters:
          - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: next, timeout: 0s}}]}]
          access_log:
          - name: stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
      {{- if .JSON}}
              log_format:
                omit_empty_values: true
                json_format:
                  time: "%START_TIME%"
                  event: {{if .Callee}}request{{else}}upstream_request{{end}}
                  listener: {{if .Callee}}inbound_{{.Listen}}{{else}}upstream_%DOWNSTREAM_LOCAL_PORT%{{end}}
                  method: "%REQUEST_HEADER(:METHOD)%"
                  path: "%PATH(NQ:ORIG_OR_PATH)%"
                  protocol: "%PROTOCOL%"
                  status: "%RESPONSE_CODE%"
                  flags: "%RESPONSE_FLAGS%"
                  details: "%RESPONSE_CODE_DETAILS%"
                  reason: "%UPSTREAM_TRANSPORT_FAILURE_REASON%"
                  ms: "%DURATION%"
        {{- if .Callee}}
                  peer: "%DOWNSTREAM_PEER_URI_SAN%"
                  self: "%DOWNSTREAM_LOCAL_URI_SAN%"
                  remote: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"
        {{- else}}
                  peer: "%UPSTREAM_PEER_URI_SAN%"
                  self: "%UPSTREAM_LOCAL_URI_SAN%"
                  upstream: "%UPSTREAM_HOST%"
        {{- end}}
      {{- end}}
      {{- if .Callee}}
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {uri: true}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
            tls_certificates: [{certificate_chain: {filename: "{{.Chain}}"}, private_key: {filename: "{{.Key}}"}}]
            validation_context:
              trusted_ca: {filename: "{{.CA}}"}
              match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "{{.Peer}}"}}]
      {{- end}}
  clusters:
  - name: next
    type: STATIC
    load_assignment:
      cluster_name: next
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Next}}}}}}]}]
    {{- if not .Callee}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
          tls_certificates: [{certificate_chain: {filename: "{{.Chain}}"}, private_key: {filename: "{{.Key}}"}}]
          validation_context:
            trusted_ca: {filename: "{{.CA}}"}
            match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "{{.Peer}}"}}]
    {{- end}}
`))

// plainLog is what the log of a configuration that is written by hand is made of.
type plainLog bool

const (
	textLog plainLog = false // Envoy's own line
	jsonLog plainLog = true
)

// handWrittenConfig is the same pair by hand.
func handWrittenConfig(certificates certificateFiles, log plainLog) makeConfig {
	return func(dir string, ports proxyPorts, callee bool) ([]string, error) {
		values := struct {
			Admin, Listen, Next  uint16
			Chain, Key, CA, Peer string
			Callee, JSON         bool
		}{
			ports.callerAdmin, ports.upstream, ports.inbound,
			certificates.pem("web"), certificates.pem("web-key"), certificates.pem("ca"), benchDomain.IDString() + "/api", false, bool(log),
		}
		if callee {
			values.Admin, values.Listen, values.Next, values.Callee = ports.calleeAdmin, ports.inbound, ports.app, true
			values.Chain, values.Key = certificates.pem("api"), certificates.pem("api-key")
			values.Peer = benchDomain.IDString() + "/web"
		}
		var text bytes.Buffer
		if err := handWritten.Execute(&text, values); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, "envoy.yaml")
		return []string{
			"--config-path", path, "--log-level", "error", "--concurrency", "1", "--disable-hot-restart",
			"--file-flush-interval-msec", "200",
		}, os.WriteFile(path, text.Bytes(), 0o600)
	}
}
