package templates

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	credentialv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// tokenFilters give each request of an upstream its token. They are the cluster's own, so that upstreams with and
// without tokens share a listener, and the routes of a gateway have them too.
func tokenFilters(audience string) []*hcmv3.HttpFilter {
	source := &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path:             JWTDir + "/" + TokenFile(audience),
			WatchedDirectory: &corev3.WatchedDirectory{Path: JWTDir},
		}},
	}
	return []*hcmv3.HttpFilter{
		httpFilter("credential_injector", &credentialv3.CredentialInjector{
			Overwrite: true,
			Credential: &corev3.TypedExtensionConfig{Name: "token", TypedConfig: pack(&genericv3.Generic{
				Credential:        &tlsv3.SdsSecretConfig{Name: tokenSecret, SdsConfig: source},
				HeaderValuePrefix: "Bearer ",
			})},
		}),
		httpFilter("expiry", &luav3.Lua{DefaultSourceCode: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: expiryCheck},
		}}),
		httpFilter("upstream_codec", &codecv3.UpstreamCodec{}),
	}
}

// expiryCheck takes the expiry from what the file holds, and answers as Envoy does without a token when it is over:
// also while the program that renews tokens does not run. Whatever fails in it, what is sent is no token.
const expiryCheck = `function envoy_on_request(h)
  local token, expiry = (h:headers():get("authorization") or ""):match("^(.+)` + expirySeparator + `(%d+)$")
  if not expiry or os.time() >= tonumber(expiry) then
    h:respond({[":status"] = "401"}, "Failed to inject credential.")
  else
    h:headers():replace("authorization", token)
  end
end`

// expirySeparator is in no token.
const expirySeparator = "~"

// tokenSecret is the name of the one secret in a token's file.
const tokenSecret = "token"

// TokenSecret is the content of a [TokenFile]: a token and until when, to the second, it is sent. Without a token, or
// when it is over, Envoy answers 401 to the app and sends nothing.
func TokenSecret(token string, until time.Time) (string, error) {
	if token != "" {
		token += expirySeparator + strconv.FormatInt(until.Unix(), 10)
	}
	return encode(resources([]*tlsv3.Secret{{
		Name: tokenSecret,
		Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
			Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: token}},
		}},
	}}))
}

// TokenOf returns the token in a [TokenFile], which may be empty.
func TokenOf(content string) (string, error) {
	response := &discoveryv3.DiscoveryResponse{}
	if err := protojson.Unmarshal([]byte(content), response); err != nil {
		return "", fmt.Errorf("expected a token's file: %w", err)
	}
	if len(response.GetResources()) != 1 {
		return "", fmt.Errorf("expected one token in a file, got %d", len(response.GetResources()))
	}
	secret := &tlsv3.Secret{}
	if err := response.GetResources()[0].UnmarshalTo(secret); err != nil {
		return "", fmt.Errorf("expected a token's file: %w", err)
	}
	token, _, _ := strings.Cut(secret.GetGenericSecret().GetSecret().GetInlineString(), expirySeparator)
	return token, nil
}
