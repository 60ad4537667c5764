package templates

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// foldings are all names that become the same as this one when each sign becomes an underscore, but for the name.
func foldings(name string) []string {
	out := []string{""}
	for i, word := range strings.Split(name, "-") {
		var longer []string
		for _, prefix := range out {
			if i == 0 {
				longer = append(longer, word)
				continue
			}
			for _, sign := range []string{"-", "_", "."} {
				longer = append(longer, prefix+sign+word)
			}
		}
		out = longer
	}
	return slices.DeleteFunc(out, func(spelling string) bool { return spelling == name })
}

// removes says whether the mutations of a manager take a header from a request.
func removes(t *testing.T, manager *hcmv3.HttpConnectionManager, name string) bool {
	t.Helper()
	for _, extension := range manager.GetEarlyHeaderMutationExtensions() {
		mutation := &earlyv3.HeaderMutation{}
		if err := extension.GetTypedConfig().UnmarshalTo(mutation); err != nil {
			t.Fatal(err)
		}
		if removal(mutation.GetMutations(), name) {
			return true
		}
	}
	return false
}

// removesTrailer says the same of a trailer.
func removesTrailer(t *testing.T, manager *hcmv3.HttpConnectionManager, name string) bool {
	t.Helper()
	for _, filter := range manager.GetHttpFilters() {
		mutation := &headermutationv3.HeaderMutation{}
		if !filter.GetTypedConfig().MessageIs(mutation) {
			continue
		}
		if err := filter.GetTypedConfig().UnmarshalTo(mutation); err != nil {
			t.Fatal(err)
		}
		if removal(mutation.GetMutations().GetRequestTrailersMutations(), name) {
			return true
		}
	}
	return false
}

// removal says whether one of the mutations removes what has this name.
func removal(mutations []*mutationv3.HeaderMutation, name string) bool {
	return slices.ContainsFunc(mutations, func(m *mutationv3.HeaderMutation) bool {
		names := regexp.MustCompile("^(?:" + m.GetRemoveOnMatch().GetKeyMatcher().GetSafeRegex().GetRegex() + ")$")
		return names.MatchString(name)
	})
}

// TestOnlyEnvoyWritesWhatAppsBelieve: on every port that leads to an app or to other services, callers' spellings of what
// Envoy writes are removed, and nothing else is.
func TestOnlyEnvoyWritesWhatAppsBelieve(t *testing.T) {
	manager := &hcmv3.HttpConnectionManager{
		EarlyHeaderMutationExtensions: notWritten(), HttpFilters: []*hcmv3.HttpFilter{notWrittenTrailers()},
	}
	for _, header := range slices.Concat(writtenHeaders...) {
		name := header.name
		if !strings.HasPrefix(name, allBegin) {
			t.Errorf("%s does not begin with %s", name, allBegin)
		}
		for _, spelling := range foldings(name) {
			if !removes(t, manager, spelling) {
				t.Errorf("%s is not removed, which some take for %s", spelling, name)
			}
		}
		if got := removes(t, manager, name); got != header.exact {
			t.Errorf("%s is removed: %t, want %t", name, got, header.exact)
		}
		for _, spelling := range append(foldings(name), name) {
			if !removesTrailer(t, manager, spelling) {
				t.Errorf("the trailer %s is not removed", spelling)
			}
		}
		if !IsWritten(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{
		"x_api_key", "x_requested_with", "x-request", "x_forwarded", "x_forwarded_host", "x-forwarded-host", "x-envoy-original-path",
		"x_envoyproxy", "x-envoyproxy-x_y", "x_request_idx", "request_id", "x-spiffe-jwt-subjects", "my_x_request_id", ":path", "cookie",
	} {
		if removes(t, manager, name) || removesTrailer(t, manager, name) {
			t.Errorf("%s is removed", name)
		}
	}
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, manager := range all[*hcmv3.HttpConnectionManager](t, name, proxy) {
			passesOn := false
			visit(t, manager, func(m proto.Message) {
				_, route := m.(*routev3.RouteAction)
				passesOn = passesOn || route
			})
			stats := manager.GetStatPrefix()
			want := passesOn && stats != upstreamsListener && stats != namesListener && stats != metricsName && stats != readinessName
			if got := removes(t, manager, "x_forwarded_client_cert"); got != want {
				t.Errorf("%s: removes what Envoy writes: %t, want %t", stats, got, want)
			}
			if got := removesTrailer(t, manager, "x-forwarded-client-cert"); got != want {
				t.Errorf("%s: removes what Envoy writes from trailers: %t, want %t", stats, got, want)
			}
		}
	})
}

// takenAgain are written into requests for Envoy itself, which removes them before the app.
var takenAgain = []string{clusterHeader, streamDuration, ageHeader}

// TestWrittenHeadersAreKnown finds a header in the configuration that an app may believe and that is not in the table. A
// name of one word has one spelling.
func TestWrittenHeadersAreKnown(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		for _, message := range all[proto.Message](t, name, proxy) {
			message.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
				if field.Kind() != protoreflect.StringKind || field.IsList() || field.IsMap() {
					return true
				}
				of, header := string(field.FullName()), strings.ToLower(value.String())
				names := of == "envoy.config.core.v3.HeaderValue.key" || strings.HasSuffix(string(field.Name()), "header") ||
					strings.HasSuffix(string(field.Name()), "header_name") || strings.HasPrefix(header, "x-")
				if names && strings.Contains(header, "-") && !IsWritten(header) && !slices.Contains(takenAgain, header) {
					t.Errorf("%s names %q: is it written into requests to apps?", of, header)
				}
				return true
			})
		}
	})
}
