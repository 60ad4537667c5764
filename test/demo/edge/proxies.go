package edge

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Proxy is what an Envoy says of itself.
type Proxy struct {
	Workload    string            `json:"workload"`
	Certificate scene.Certificate `json:"certificate"`
	// Accepts is the ID that it wants of its peer.
	Accepts string `json:"accepts"`
	// Handshakes is how many it has done with that peer.
	Handshakes int `json:"handshakes"`
}

// Proxies asks both Envoys for their certificate, their configuration and their statistics.
func (s stage) Proxies(ctx context.Context) ([]Proxy, error) {
	var out []Proxy
	for _, p := range []struct {
		workload, peer string
		handshakes     *regexp.Regexp
	}{
		{Edge, App, regexp.MustCompile(`(?m)^cluster\.[^:]*ssl\.handshake: ([0-9]+)$`)},
		{App, Edge, regexp.MustCompile(`(?m)^listener\.[^:]*_` + Port + `\.ssl\.handshake: ([0-9]+)$`)},
	} {
		answers, err := s.Admin(ctx, Namespace, "deploy/"+p.workload, "/certs", "/config_dump", "/stats")
		if err != nil {
			return out, err
		}
		proxy, err := parseProxy(p.workload, p.peer, p.handshakes, answers)
		out = append(out, proxy)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// peerRules are the lines of a configuration that say which SPIFFE IDs are accepted.
var peerRules = regexp.MustCompile(`("(?:exact|prefix)": "spiffe://[^"]*")`)

// parseProxy reads the answers of /certs, /config_dump and /stats, and holds them against what the story says of them.
func parseProxy(workload, peer string, handshakes *regexp.Regexp, answers [][]byte) (Proxy, error) {
	p := Proxy{Workload: workload, Accepts: ID(peer)}
	var err error
	if p.Certificate, err = scene.ParseCertificate(answers[0]); err != nil {
		return p, err
	}
	if p.Certificate.ID != ID(workload) {
		return p, &scene.Mismatch{What: "/certs of " + workload, Expected: ID(workload), Got: p.Certificate.ID}
	}
	var peers []string
	for _, match := range peerRules.FindAllSubmatch(answers[1], -1) {
		peers = append(peers, string(match[1]))
	}
	if exactly := fmt.Sprintf("%q: %q", "exact", ID(peer)); !slices.Contains(peers, exactly) {
		return p, &scene.Mismatch{What: "/config_dump of " + workload, Expected: "the peer " + exactly, Got: strings.Join(peers, ", ")}
	}
	for _, match := range handshakes.FindAllSubmatch(answers[2], -1) {
		n, err := strconv.Atoi(string(match[1]))
		if err != nil {
			return p, err
		}
		p.Handshakes += n
	}
	if p.Handshakes == 0 {
		err = &scene.Mismatch{What: "/stats of " + workload, Expected: "handshakes", Got: fmt.Sprintf("none by %s", handshakes)}
	}
	return p, err
}
