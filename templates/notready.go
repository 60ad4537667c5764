package templates

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Whoever asks a pod that is not ready finds in the answer what is missing. Envoy does not tell which of several
// addresses does not answer, so all that are asked are named.

// mostNamed bounds how many addresses an answer names.
const mostNamed = 5

// saysWhatIsMissing gives the 503 of [ReadinessPath] and [AppReadinessPath] a body.
func (p envoy) saysWhatIsMissing() *hcmv3.LocalReplyConfig {
	var out []*hcmv3.ResponseMapper
	var apps []string
	for _, a := range p.appAddresses() {
		apps = append(apps, textOf(a))
	}
	for _, port := range portsOnPodIP(p.Proxy) {
		apps = append(apps, fmt.Sprintf("port %d of the pod's address", port))
	}
	if len(apps) > 0 {
		out = append(out, unready(AppReadinessPath, fmt.Sprintf(
			"nothing listens on %s, or Envoy itself is not ready: see %s\n", anyOfThese(apps), ReadinessPath)))
	}
	var own []string
	for _, a := range p.ownAddresses() {
		own = append(own, textOf(a))
	}
	return &hcmv3.LocalReplyConfig{Mappers: append(out, unready(ReadinessPath, fmt.Sprintf(
		"Envoy does not accept connections on %s: its log says why\n", anyOfThese(own))))}
}

// unready is the body of a 503 to requests below a path. The others of a listener come from what a request is led to.
func unready(path, body string) *hcmv3.ResponseMapper {
	return &hcmv3.ResponseMapper{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{AndFilter: &accesslogv3.AndFilter{
			Filters: []*accesslogv3.AccessLogFilter{
				{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{StatusCodeFilter: &accesslogv3.StatusCodeFilter{
					Comparison: &accesslogv3.ComparisonFilter{Value: &corev3.RuntimeUInt32{
						DefaultValue: 503,
						RuntimeKey:   readinessName, // has to be something, and nothing sets it
					}},
				}}},
				{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{HeaderFilter: &accesslogv3.HeaderFilter{
					Header: &routev3.HeaderMatcher{
						Name:                 ":path",
						HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: prefixMatcher(path)},
					},
				}}},
			},
		}}},
		Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: body}},
	}
}

// textOf is host:port.
func textOf(a *corev3.Address) string {
	s := a.GetSocketAddress()
	return net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue())))
}

// anyOfThese lists addresses of which at least one is meant.
func anyOfThese(all []string) string {
	more := ""
	if n := len(all) - mostNamed; n > 0 {
		all, more = all[:mostNamed], fmt.Sprintf(", %d more", n)
	}
	list := strings.Join(all, ", ") + more
	if len(all) > 1 {
		return "one of " + list
	}
	return list
}
