package templates

import (
	"encoding/json"
	"fmt"
	"slices"
)

// SamePorts says whether the listeners, clusters and authorization that were generated together with one bootstrap are
// of use to an Envoy that was started with another one: the ports that it watches for readiness and the ports of the
// app are there, and stay, and so does how it is told of authorities. What else a bootstrap says, such as which
// statistics are kept, may differ. An error is of a bootstrap that is none.
func SamePorts(a, b string) (bool, error) {
	inA, err := portsOf(a)
	if err != nil {
		return false, err
	}
	inB, err := portsOf(b)
	if err != nil {
		return false, err
	}
	return slices.Equal(inA, inB), nil
}

// WithoutValidator says whether the proxy of a bootstrap takes callers with and without a certificate on a port.
func WithoutValidator(bootstrap string) bool {
	ports, err := portsOf(bootstrap)
	return err == nil && slices.Contains(ports, sdsWithoutValidator)
}

// portsOf lists what a bootstrap says of ports: those that are shared by upstreams, and those that readiness connects
// to.
func portsOf(bootstrap string) ([]string, error) {
	var b struct {
		Node struct {
			Metadata struct {
				Upstreams        []int `json:"upstreams"`
				WithoutValidator bool  `json:"disable_spiffe_cert_validation"`
			} `json:"metadata"`
		} `json:"node"`
		StaticResources struct {
			Clusters []struct {
				Name           string `json:"name"`
				LoadAssignment struct {
					Endpoints []struct {
						LbEndpoints []struct {
							Endpoint struct {
								Address struct {
									SocketAddress struct {
										PortValue int `json:"port_value"`
									} `json:"socket_address"`
								} `json:"address"`
							} `json:"endpoint"`
						} `json:"lb_endpoints"`
					} `json:"endpoints"`
				} `json:"load_assignment"`
			} `json:"clusters"`
		} `json:"static_resources"`
	}
	if err := json.Unmarshal([]byte(bootstrap), &b); err != nil {
		return nil, fmt.Errorf("expected Envoy's bootstrap in JSON: %w", err)
	}
	var out []string
	if b.Node.Metadata.WithoutValidator {
		out = append(out, sdsWithoutValidator)
	}
	for _, port := range b.Node.Metadata.Upstreams {
		out = append(out, fmt.Sprintf("%s %d", upstreamsListener, port))
	}
	for _, c := range b.StaticResources.Clusters {
		if c.Name != ownPorts && c.Name != appPorts {
			continue
		}
		for _, group := range c.LoadAssignment.Endpoints {
			for _, e := range group.LbEndpoints {
				out = append(out, fmt.Sprintf("%s %d", c.Name, e.Endpoint.Address.SocketAddress.PortValue))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
