// Package static makes one document of a generated configuration, because `envoy --mode validate` does not read the
// files of dynamic resources.
package static

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/test/golden/layout"
)

// Bootstrap returns the bootstrap with listeners, clusters and authorization in it.
func Bootstrap(config templates.Config) ([]byte, error) {
	var bootstrap map[string]any
	if err := decode(config.Bootstrap, &bootstrap); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	delete(bootstrap, spelled(bootstrap, "dynamic_resources"))
	static, ok := bootstrap[spelled(bootstrap, "static_resources")].(map[string]any)
	if !ok {
		return nil, errors.New("bootstrap: expected static_resources, got none")
	}
	filters, err := resources(config.Authorization)
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	for field, document := range map[string]string{"listeners": config.Listeners, "clusters": config.Clusters} {
		all, err := resources(document)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		list, _ := static[field].([]any)
		for _, resource := range all {
			inline(resource, filters)
			withoutFile(resource)
			delete(resource, "@type")
			list = append(list, resource)
		}
		static[field] = list
	}
	document, err := json.Marshal(bootstrap)
	return tokenFile.ReplaceAll(document, []byte(`"/dev${1}"`)), err
}

// tokenFile is a file that another program writes, and which has to be there for Envoy to accept its name, or the
// directory of such files.
var tokenFile = regexp.MustCompile(`"` + templates.JWTDir + `(?:(/)[0-9a-f]+\.json)?"`)

// spelled is how object spells the name of a field: as Envoy's documents do, or as protobuf does in JSON.
func spelled(object map[string]any, field string) string {
	words := strings.Split(field, "_")
	for n, word := range words[1:] {
		words[n+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	if brief := strings.Join(words, ""); object[brief] != nil {
		return brief
	}
	return field
}

func resources(document string) ([]map[string]any, error) {
	var response struct {
		Resources []map[string]any `json:"resources"`
	}
	err := decode(document, &response)
	return response.Resources, err
}

// decode reads YAML or JSON.
func decode(document string, into any) error {
	text, err := layout.JSON([]byte(document))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// inline puts filters in the place of the references to them.
func inline(value any, filters []map[string]any) {
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			inline(inner, filters)
		}
	case map[string]any:
		if discovery := spelled(value, "config_discovery"); value[discovery] != nil {
			for _, filter := range filters {
				if len(filters) == 1 || filter["name"] == value["name"] {
					delete(value, discovery)
					config := spelled(filter, "typed_config")
					value[config] = filter[config]
				}
			}
		}
		for _, inner := range value {
			inline(inner, filters)
		}
	}
}

// secretFile says where files of a Secret are.
var secretFile = regexp.MustCompile("^" + templates.ConfigDir + "/(certificate|ca-[0-9]+).(json|yaml)$")

// withoutFile takes a Secret's certificate or CA from the agent: validation looks for the files, which only a pod has.
func withoutFile(value any) {
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			withoutFile(inner)
		}
	case map[string]any:
		for key, inner := range value {
			if file, ok := inner.(map[string]any); ok && key == spelled(value, "path_config_source") && secretFile.MatchString(fmt.Sprint(file["path"])) {
				delete(value, key)
				value["api_config_source"] = map[string]any{
					"api_type": "GRPC", "transport_api_version": "V3",
					"grpc_services": []any{map[string]any{"envoy_grpc": map[string]any{"cluster_name": "spire_agent"}}},
				}
				return
			}
			withoutFile(inner)
		}
	}
}
