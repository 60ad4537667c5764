package main

import (
	"bytes"
	"os"
	"path/filepath"
	"text/template"
)

// handWritten is what somebody would write who wants mutual TLS, a check of the peer and a line in the log for each
// request, and nothing else: Envoy's defaults for buffers, windows, limits and time-outs.
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

// handWrittenConfig is the same pair by hand.
func handWrittenConfig(certificates certificateFiles) makeConfig {
	return func(dir string, ports proxyPorts, callee bool) ([]string, error) {
		values := struct {
			Admin, Listen, Next  uint16
			Chain, Key, CA, Peer string
			Callee               bool
		}{
			ports.callerAdmin, ports.upstream, ports.inbound,
			certificates.pem("web"), certificates.pem("web-key"), certificates.pem("ca"), benchDomain.IDString() + "/api", false,
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
